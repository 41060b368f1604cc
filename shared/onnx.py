"""One way to open an ONNX graph: no threads of its own, no arena that keeps the largest batch's memory for ever."""

from collections.abc import Mapping
from typing import Any


def session(graph: bytes | str, log_level: int = 4, files: Mapping[str, bytes] | None = None) -> Any:
    """An onnxruntime session of a file's path, or of its bytes with those of the `files` of weights that it names, by name. It runs on the thread which
    asks: batches are read side by side instead (shared.encoder), for one is too small to be shared out. Raises what onnxruntime raises. At `log_level` 4 it
    logs nothing that its error does not say."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = 1, 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = log_level
    # where a processor has no dot product of bytes (AVX2 alone), sums of two products may overflow: there, slower ones that do not
    options.add_session_config_entry("session.x64quantprecision", "1")
    if isinstance(graph, bytes):  # a graph may name files of weights: with a table of them none is read from this machine, whatever it names
        table = dict(files or {}) or {"none": b"\0"}
        options.add_external_initializers_from_files_in_memory(list(table), list(table.values()), [len(data) for data in table.values()])
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
