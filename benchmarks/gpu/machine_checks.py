"""The checks that need no queue: the provider and its libraries, golden cases, binding, memory that runs out."""

import statistics
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.figures import Figure, figure
from benchmarks.gpu.bundles import FITS, LARGEST, write_greedy, write_lasting
from benchmarks.gpu.device import CheckFailed, Device
from benchmarks.gpu.scored import Scored
from models.bundle import bundled
from models.manifest import MODEL
from models.pipelines import Array
from service.config import Provider
from workers.fitted import FittedGraphs
from workers.runtime import OnnxGraph, OutOfMemory, RunTimedOut
from workers.trial import Trial

LIBRARIES = (
    "libcuda.so",
    "libcudart.so",
    "libcublas.so",
    "libcublasLt.so",
    "libcudnn.so",
    "libonnxruntime_providers_cuda.so",
)
SIZES, QUICK_SIZES = (1, 64, 256), (1, 8)
RUNS, QUICK_RUNS = 20, 2
OF_EACH_KIND = {"breast-cancer-wisconsin", "pneumonia-xray-28", "question-entities"}  # rows, pictures, texts
STOP_AFTER_S = 0.5


def provider(device: Device) -> Iterator[Figure]:
    """The provider that was asked for is chosen and kept, and its libraries are loaded."""
    began = time.perf_counter()
    runtime = device.runtime()
    loaded = [(model, model.on(runtime.load(model.bundle.model_path))) for model in _models(device)]
    yield figure("start_s", "from nothing to all bundled models loaded", "s", time.perf_counter() - began)
    for model, graphs in loaded:
        for _ in range(3):
            model.score(graphs.run, 4)
    if runtime.provider != device.execution_provider:
        raise CheckFailed(f"graphs run on {runtime.provider}")
    if device.on_cuda:
        mapped = Path("/proc/self/maps").read_text()
        if missing := [name for name in LIBRARIES if name not in mapped]:
            raise CheckFailed(f"not loaded: {', '.join(missing)}")
    yield figure("memory_mb", "memory in use with all bundled models", "MiB", device.used_mb())


def golden(device: Device) -> Iterator[Figure]:
    """The bundled models answer their golden cases on this device; how far it is from the CPU."""
    runtime = device.runtime()
    for model in _models(device):
        name, path = model.name, model.bundle.model_path
        graphs = model.on(runtime.load(path))
        began = time.perf_counter()
        tried = Trial(graphs, model.pipeline, model.scoring, model.bundle)
        largest = tried.fitting(QUICK_SIZES[-1] if device.quick else model.bundle.manifest.runtime.max_batch)
        if faults := tried.compare(model.bundle.golden, largest=largest):
            raise CheckFailed(f"{name}: {faults[0]}")
        yield figure(
            f"{name}_tried_s",
            f"{name}: largest batch and golden cases tried in",
            "s",
            time.perf_counter() - began,
        )
        fed = model.passes(graphs, len(model.bundle.golden))
        plain = _on_the_cpu(model)
        yield figure(f"{name}_gap", f"{name}: largest difference from the CPU", "", _gap(graphs, plain, fed))
        if device.on_cuda:
            rough = model.on(runtime.load(path, allow_tf32=True))
            yield figure(f"{name}_gap_tf32", f"{name}: the same with TF32", "", _gap(rough, plain, fed))


def binding(device: Device) -> Iterator[Figure]:
    """Runs with inputs and outputs bound to the device's memory give the outputs of plain runs; what they take."""
    for model in _models(device):
        name, session = model.name, device.session(model.bundle.model_path)
        bound = model.on(OnnxGraph(session, 1.0, device=device.memory))
        plain = model.on(OnnxGraph(session, 1.0))
        for size in QUICK_SIZES if device.quick else SIZES:
            fed = model.passes(plain, size)
            gap = _gap(bound, plain, fed)
            if not gap <= model.bundle.manifest.runtime.tolerance:
                raise CheckFailed(
                    f"{name}: bound outputs differ by {gap:.2g} from plain ones in a batch of {size}"
                )
            yield figure(f"{name}_bound_{size}_gap", f"{name}: run of {size}, bound less plain", "", gap)
            for way, graphs in (("bound", bound), ("plain", plain)):
                seconds = _seconds(graphs, fed, QUICK_RUNS if device.quick else RUNS)
                yield figure(f"{name}_{way}_{size}_ms", f"{name}: run of {size}, {way}", "ms", seconds * 1000)


def memory(device: Device) -> Iterator[Figure]:
    """A batch that asks for more than there is is told apart, halved until it fits, and leaves the device usable."""
    with TemporaryDirectory() as folder:
        model = Scored(write_greedy(Path(folder) / "greedy", device))
        graphs = model.on(device.runtime().load(model.bundle.model_path))
        try:
            model.score(graphs.run, LARGEST)
        except OutOfMemory:
            pass
        else:
            raise CheckFailed("a batch of no size that fits was run")
        before = device.used_mb()
        fits = Trial(graphs, model.pipeline, model.scoring, model.bundle).fitting(LARGEST)
        if fits != FITS:
            raise CheckFailed(f"a batch of {fits} was found to fit, not of {FITS}")
        model.score(graphs.run, FITS)
        yield figure("fits", "largest batch that was found to fit", "", fits)
        yield figure(
            "kept_mb", "memory that failed runs left taken", "MiB", max(0.0, device.used_mb() - before)
        )


def stopping(device: Device) -> Iterator[Figure]:
    """A run of many kernels that takes too long ends when it is told to, and the next one is none the worse."""
    with TemporaryDirectory() as folder:
        graph = device.runtime().load(write_lasting(Path(folder)))
    timer = threading.Timer(STOP_AFTER_S, graph.stop)
    timer.start()
    began = time.perf_counter()
    try:
        graph.run({"features": np.ones((2, 2), np.float32)})
    except RunTimedOut:
        yield figure(
            "stopped_s", "from being told to stop to the end", "s", time.perf_counter() - began - STOP_AFTER_S
        )
    else:
        raise CheckFailed("a run of minutes ended by itself")


def _on_the_cpu(model: Scored) -> FittedGraphs:
    return model.on(OnnxGraph(Device(Provider.CPU).session(model.bundle.model_path), 1.0))


def _models(device: Device) -> list[Scored]:
    """The bundled models of one graph; those of several copy graphs of others. On a CPU, to be quick, one of each kind."""
    few = device.quick and not device.on_cuda
    folders = [folder for folder in bundled() if not few or folder.name in OF_EACH_KIND]
    return [model for model in map(Scored, folders) if model.bundle.graph_paths.keys() == {MODEL}]


def _gap(one: FittedGraphs, other: FittedGraphs, fed: Sequence[Mapping[str, Array]]) -> float:
    """The largest difference between the outputs of the same runs."""
    pairs = [(one.run(feeds), other.run(feeds)) for feeds in fed]
    return max(float(np.max(np.abs(a[name] - b[name]))) for a, b in pairs for name in b)


def _seconds(graphs: FittedGraphs, fed: Sequence[Mapping[str, Array]], runs: int) -> float:
    """The median of so many batches, each of all its runs, after a first."""
    found = []
    for _ in range(runs + 1):
        began = time.perf_counter()
        for feeds in fed:
            graphs.run(feeds)
        found.append(time.perf_counter() - began)
    return statistics.median(found[1:])
