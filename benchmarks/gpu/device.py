"""The device that the checks run on: CUDA, or the CPU, on which they prove all but the GPU itself."""

import ctypes
from dataclasses import dataclass
from pathlib import Path

import onnxruntime as ort
import psutil

from service.config import Provider
from workers import cuda
from workers.runtime import CPU, CUDA, CUDA_DEVICE, OnnxRuntime, cuda_options


class CheckFailed(Exception):
    """A check found what must not be. The message says what."""


@dataclass(frozen=True)
class Device:
    """What to run on, and how large the checks may be there."""

    provider: Provider
    quick: bool = False

    @property
    def on_cuda(self) -> bool:
        """Whether it is a GPU."""
        return self.provider is Provider.CUDA

    @property
    def execution_provider(self) -> str:
        """ONNX Runtime's name of it."""
        return CUDA if self.on_cuda else CPU

    @property
    def memory(self) -> str:
        """The memory to which inputs and outputs are bound."""
        return CUDA_DEVICE if self.on_cuda else "cpu"

    def runtime(self) -> OnnxRuntime:
        """The workers' runtime on this device and no other. Raises CheckFailed with what CUDA lacks."""
        fault = cuda.fault() if self.on_cuda else None
        if fault is not None:
            raise CheckFailed(fault)
        return OnnxRuntime(self.provider, allow_cpu=False, threads=1)

    def session(self, path: Path, *, allow_tf32: bool = False) -> ort.InferenceSession:
        """A bare session with the workers' options."""
        providers = [(CUDA, cuda_options(allow_tf32=allow_tf32)), CPU] if self.on_cuda else [CPU]
        options = self.runtime().options(str(path), on_cpu=not self.on_cuda)
        return ort.InferenceSession(str(path), options, providers=providers)

    def used_mb(self) -> float:
        """Memory in use: all of the GPU's, or this process's, in MiB."""
        if not self.on_cuda:
            return float(psutil.Process().memory_info().rss / 2**20)
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        runtime = ctypes.CDLL(f"libcudart.so.{cuda.VERSION.partition('.')[0]}")
        if runtime.cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total)):
            raise CheckFailed("cudaMemGetInfo failed")
        return (total.value - free.value) / 2**20
