"""One way to open an ONNX graph: no threads of its own, no arena that keeps the largest batch's memory for ever."""

from collections.abc import Mapping
from typing import Any


def session(graph: bytes | str, log_level: int = 4, files: Mapping[str, bytes] | None = None) -> Any:
    """An onnxruntime session of a file's path, or of its bytes with those of the `files` of weights that it names, that runs on the thread which asks: batches are read side by side instead
    (shared.encoder), for one is too small to be shared out. Raises what onnxruntime raises. At `log_level` 4 it logs nothing that its error does not say."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = 1, 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = log_level
    if files:  # handed over, and not found by the path that the graph gives: no file of this machine may be read on a model's word
        options.add_external_initializers_from_files_in_memory(list(files), list(files.values()), [len(data) for data in files.values()])
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
