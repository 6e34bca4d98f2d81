"""What CUDA lacks on this machine is named, and what to do about it is said."""

import sys

import pytest

from workers import cuda

# As ONNX Runtime's preload_dlls prints it, of libraries that no machine has.
PRINTED = """Failed to load /site/nvidia/cu13/lib/libmissingblas.so.13: libmissingblas.so.13: cannot open shared object file
Failed to load libmissingblas.so.13: libmissingblas.so.13: cannot open shared object file: No such file or directory
Failed to load libmissingrand.so.10: libmissingrand.so.10: cannot open shared object file: No such file or directory
Please follow https://onnxruntime.ai/docs/install/#cuda-and-cudnn to install CUDA.
"""


def test_a_build_without_cuda_says_so() -> None:
    assert cuda.fault("") == cuda.WITHOUT_CUDA


def test_every_library_that_is_missing_is_named_once(capsys: pytest.CaptureFixture[str]) -> None:
    fault = cuda.fault("13.0", lambda: print(PRINTED))
    assert fault is not None
    assert fault.startswith("missing libraries: ")
    assert (fault.count("libmissingblas.so.13"), fault.count("libmissingrand.so.10")) == (1, 1)
    assert "medqueue[gpu]" in fault
    assert capsys.readouterr().out == ""


def test_a_library_that_the_system_has_is_not_missing() -> None:
    printed = "Failed to load /site/nvidia/lib/libc.so.6: broken"
    assert "libc.so.6" not in cuda.load_libraries(lambda: print(printed))


@pytest.mark.skipif(cuda.has_driver(), reason="this machine has NVIDIA's driver")
def test_a_missing_driver_is_named_beside_the_libraries() -> None:
    fault = cuda.fault("13.0", lambda: print(PRINTED))
    assert fault is not None
    assert "missing driver: libcuda.so.1" in fault
    assert "NVIDIA_DRIVER_CAPABILITIES" in fault


def test_loading_the_libraries_does_no_harm_in_a_build_without_cuda() -> None:
    before = sys.stdout
    cuda.load_libraries()
    assert sys.stdout is before
