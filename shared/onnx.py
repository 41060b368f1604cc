"""One way to open an ONNX graph: no spinning, no arena that keeps the largest batch's memory for ever."""

from typing import Any


def session(graph: bytes | str, threads: int, log_level: int = 4) -> Any:
    """An onnxruntime session of a file's path, or of its bytes; `threads` bounds the cores of one call. Raises what onnxruntime raises. At `log_level` 4
    it logs nothing that its error does not say."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # an idle service must not burn a core
    options.enable_cpu_mem_arena = False
    options.log_severity_level = log_level
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
