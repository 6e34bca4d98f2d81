"""How ONNX Runtime reports that memory ran out or a GPU was lost."""

import re

# ONNX Runtime has one exception class for most faults, so faults of allocators are recognized by message: those of its own
# arenas (core/framework/bfc_arena.cc, the pools of CUDA), of CUDA, cuBLAS, cuDNN 8 and 9 and cuRAND, and of C++.
OUT_OF_MEMORY_WORDS = (
    "out of memory",
    "failed to allocate",
    "is smaller than requested bytes of",
    "memory allocation failed",
    "bad allocation",
    "bad_alloc",
    "cuda failure 2:",
    "cuda_error_out_of_memory",
    "cudaerrormemoryallocation",
    "cudamalloc",
    "cublas_status_alloc_failed",
    "cublas failure 3:",
    "cudnn_status_alloc_failed",
    "device_allocation_failed",
    "host_allocation_failed",
    "curand_status_allocation_failed",
    "cufft_alloc_failed",
)
# After these errors of CUDA every later call of the process fails in the same way: an uncorrectable error of the GPU's
# memory, a lost GPU, kernels that read invalid addresses or were aborted by the driver. "The process must be terminated
# and relaunched", says CUDA's documentation of cudaError_t.
DEVICE_LOST = re.compile(r"cuda failure (214|220|700|702|709|71[04-9]|999)\b")
DEVICE_LOST_EXIT_STATUS = 75  # as for a run that hangs: the supervisor restarts the process

# ONNX Runtime's message of a CUDA error, up to where it names its own source files.
CUDA_FAILURE = re.compile(r"\b(CUDA|CUBLAS|CUDNN)\w* failure \d+: [^;\n]*[^;\s]")


def is_out_of_memory(fault: BaseException) -> bool:
    """Whether an allocator raised the fault, by its message, which is never passed on."""
    words = str(fault).lower()
    return isinstance(fault, MemoryError) or any(word in words for word in OUT_OF_MEMORY_WORDS)
