"""What CUDA needs besides ONNX Runtime: NVIDIA's libraries, which come as wheels, and the driver of the host.

ONNX Runtime links to the libraries but does not search the wheels for them, and if a library or the driver is missing, it
silently runs on the CPU. So the libraries are loaded here, and missing ones are reported by name.
"""

import contextlib
import ctypes
import io
import re
from collections.abc import Callable
from pathlib import PurePath

import onnxruntime as ort

# The CUDA version that ONNX Runtime is built for, such as 13.0; empty if it is built without CUDA.
VERSION = str(getattr(ort, "cuda_version", "") or "")
DRIVER = "libcuda.so.1"
CUDNN = "libcudnn.so.9"  # loaded by the first convolution, so its absence would be noticed late
NOT_LOADED = re.compile(r"Failed to load (\S+): ")

WITHOUT_CUDA = "this ONNX Runtime is built without CUDA. Install medqueue[gpu] in place of medqueue[cpu]"
LIBRARIES_ADVICE = "Reinstall medqueue[gpu]: it brings NVIDIA's libraries as wheels"
DRIVER_ADVICE = (
    "Install NVIDIA's driver on the host, and start a container with a GPU (docker run --gpus all) "
    "and NVIDIA_DRIVER_CAPABILITIES=compute,utility"
)
DEVICE_ADVICE = "Check the output of nvidia-smi, and whether the driver is new enough for CUDA {}"


def fault(version: str = VERSION, preload: Callable[[], None] = ort.preload_dlls) -> str | None:
    """Load the libraries; returns why CUDA cannot work here and what to do, or None if it can."""
    if not version:
        return WITHOUT_CUDA
    missing = load_libraries(preload)
    found = [f"missing libraries: {', '.join(missing)}"] if missing else []
    advice = [LIBRARIES_ADVICE] if missing else []
    if not has_driver():
        found.append(f"missing driver: {DRIVER}")
        advice.append(DRIVER_ADVICE)
    if not found and (reason := _device_fault(version.partition(".")[0])) is not None:
        found.append(f"no usable GPU: {reason}")
        advice.append(DEVICE_ADVICE.format(version))
    return f"{'; '.join(found)}. {'. '.join(advice)}" if found else None


def load_libraries(preload: Callable[[], None] = ort.preload_dlls) -> list[str]:
    """Load CUDA and cuDNN from the wheels or from the system; returns the names of missing libraries.

    ONNX Runtime's own function prints what it cannot load, and counts cuDNN as optional.
    """
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        preload()
    missing = {PurePath(path).name for path in NOT_LOADED.findall(printed.getvalue())}
    return sorted(name for name in missing | {CUDNN} if not _loads(name))


def has_driver() -> bool:
    """Whether this machine, or container, has NVIDIA's driver."""
    return _loads(DRIVER)


def _device_fault(major: str) -> str | None:
    """Why the driver offers no GPU, as reported by CUDA's runtime; None if it offers one."""
    try:
        runtime = ctypes.CDLL(f"libcudart.so.{major}")
    except OSError:
        return None  # ONNX Runtime decides when it loads a model
    count = ctypes.c_int(0)
    code = runtime.cudaGetDeviceCount(ctypes.byref(count))
    if code:
        runtime.cudaGetErrorString.restype = ctypes.c_char_p
        return str(runtime.cudaGetErrorString(code).decode())
    return None if count.value else "no CUDA device is visible"


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True
