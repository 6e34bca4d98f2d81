"""The checks that need no queue: the provider and its libraries, golden cases, binding, memory that runs out."""

import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.figures import Figure, figure
from benchmarks.gpu.bundles import FITS, LARGEST, write_greedy, write_lasting
from benchmarks.gpu.device import CheckFailed, Device
from models.bundle import Bundle, bundled, read_bundle
from models.golden_cases import encode_cases
from models.manifest import MODEL
from models.pipelines import Array, SinglePassPipeline, single_pass
from service.config import Provider
from workers.fitted import FittedGraphs, fitted
from workers.runtime import LoadedGraph, OnnxGraph, OutOfMemory, RunTimedOut
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
STOP_AFTER_S = 0.5


def provider(device: Device) -> Iterator[Figure]:
    """The provider that was asked for is chosen and kept, and its libraries are loaded."""
    began = time.perf_counter()
    runtime = device.runtime()
    graphs = [(bundle, runtime.load(bundle.model_path)) for bundle in _bundles()]
    yield figure("start_s", "from nothing to two loaded models", "s", time.perf_counter() - began)
    for bundle, graph in graphs:
        pipeline = single_pass(bundle.manifest)
        for _ in range(3):
            graph.run(_feeds(bundle, pipeline, 4))
    if runtime.provider != device.execution_provider:
        raise CheckFailed(f"graphs run on {runtime.provider}")
    if device.on_cuda:
        mapped = Path("/proc/self/maps").read_text()
        if missing := [name for name in LIBRARIES if name not in mapped]:
            raise CheckFailed(f"not loaded: {', '.join(missing)}")
    yield figure("memory_mb", "memory in use with both models", "MiB", device.used_mb())


def golden(device: Device) -> Iterator[Figure]:
    """The bundled models answer their golden cases on this device; how far it is from the CPU."""
    runtime = device.runtime()
    for bundle in _bundles():
        name, pipeline = bundle.manifest.name, single_pass(bundle.manifest)
        graph = runtime.load(bundle.model_path)
        began = time.perf_counter()
        tried = Trial(_one(graph, bundle), pipeline, pipeline.open(bundle.folder), bundle)
        largest = tried.fitting(QUICK_SIZES[-1] if device.quick else bundle.manifest.runtime.max_batch)
        if faults := tried.compare(bundle.golden, largest=largest):
            raise CheckFailed(f"{name}: {faults[0]}")
        yield figure(
            f"{name}_tried_s",
            f"{name}: largest batch and golden cases tried in",
            "s",
            time.perf_counter() - began,
        )
        feeds = pipeline.preprocess([case.payload for case in encode_cases(bundle.golden, pipeline)])
        plain = _on_the_cpu(bundle).run(feeds)
        yield figure(
            f"{name}_gap", f"{name}: largest difference from the CPU", "", _gap(graph.run(feeds), plain)
        )
        if device.on_cuda:
            rough = runtime.load(bundle.model_path, allow_tf32=True).run(feeds)
            yield figure(f"{name}_gap_tf32", f"{name}: the same with TF32", "", _gap(rough, plain))


def binding(device: Device) -> Iterator[Figure]:
    """Runs with inputs and outputs bound to the device's memory give the outputs of plain runs; what they take."""
    for bundle in _bundles():
        name, pipeline = bundle.manifest.name, single_pass(bundle.manifest)
        session = device.session(bundle.model_path)
        bound, plain = OnnxGraph(session, 1.0, device=device.memory), OnnxGraph(session, 1.0)
        for size in QUICK_SIZES if device.quick else SIZES:
            feeds = _feeds(bundle, pipeline, size)
            gap = _gap(bound.run(feeds), plain.run(feeds))
            if not gap <= bundle.manifest.runtime.tolerance:
                raise CheckFailed(
                    f"{name}: bound outputs differ by {gap:.2g} from plain ones in a batch of {size}"
                )
            yield figure(f"{name}_bound_{size}_gap", f"{name}: run of {size}, bound less plain", "", gap)
            for way, graph in (("bound", bound), ("plain", plain)):
                seconds = _seconds(graph, feeds, QUICK_RUNS if device.quick else RUNS)
                yield figure(f"{name}_{way}_{size}_ms", f"{name}: run of {size}, {way}", "ms", seconds * 1000)


def memory(device: Device) -> Iterator[Figure]:
    """A batch that asks for more than there is is told apart, halved until it fits, and leaves the device usable."""
    with TemporaryDirectory() as folder:
        bundle = read_bundle(write_greedy(Path(folder) / "greedy", device))
        graph, pipeline = device.runtime().load(bundle.model_path), single_pass(bundle.manifest)
        try:
            graph.run(_feeds(bundle, pipeline, LARGEST))
        except OutOfMemory:
            pass
        else:
            raise CheckFailed("a batch of no size that fits was run")
        before = device.used_mb()
        fits = Trial(_one(graph, bundle), pipeline, pipeline.open(bundle.folder), bundle).fitting(LARGEST)
        if fits != FITS:
            raise CheckFailed(f"a batch of {fits} was found to fit, not of {FITS}")
        graph.run(_feeds(bundle, pipeline, FITS))
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


def _on_the_cpu(bundle: Bundle) -> OnnxGraph:
    return OnnxGraph(Device(Provider.CPU).session(bundle.model_path), 1.0)


def _bundles() -> list[Bundle]:
    return [read_bundle(folder) for folder in bundled()]


def _one(graph: LoadedGraph, bundle: Bundle) -> FittedGraphs:
    """The only graph of a bundle in its pipeline's terms."""
    return fitted(bundle.manifest, single_pass(bundle.manifest), {MODEL: graph}, side_bytes=0)


def _feeds(bundle: Bundle, pipeline: SinglePassPipeline, size: int) -> dict[str, Array]:
    """So many golden cases, over and over, as a graph takes them."""
    payloads = [case.payload for case in encode_cases(bundle.golden, pipeline)]
    return dict(pipeline.preprocess([payloads[row % len(payloads)] for row in range(size)]))


def _gap(one: dict[str, Array], other: dict[str, Array]) -> float:
    return max(float(np.max(np.abs(one[name] - other[name]))) for name in other)


def _seconds(graph: OnnxGraph, feeds: dict[str, Array], runs: int) -> float:
    """The median of so many runs, after a first."""
    graph.run(feeds)
    found = []
    for _ in range(runs):
        began = time.perf_counter()
        graph.run(feeds)
        found.append(time.perf_counter() - began)
    return statistics.median(found)
