"""Checks of this machine: disk space, and what ONNX Runtime can run models on."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from models.bundle import bundled
from models.graph import MODEL_NAME
from models.pipelines import molecules
from service.cli.checks.finding import Examined, Finding, fail, ok, warn

DISK_FAIL_BYTES = 512 * 2**20
DISK_WARN_BYTES = 5 * 2**30
PROBE_TIMEOUT_S = 120
GPU_DEVICE = Path("/dev/nvidia0")
CPU = "CPUExecutionProvider"

# The service never imports the workers: the runtime is asked in a process of its own, which loads a model as a worker does.
RUNTIME_PROBE = """
import json, pathlib, sys
from service.config import Settings
from workers.runtime import OnnxRuntime, describe
settings = Settings.from_environment()
runtime = OnnxRuntime(settings.provider, allow_cpu=settings.allow_cpu, threads=1)
runtime.load(pathlib.Path(sys.argv[1]))
print(json.dumps({**describe(runtime), "cuda_fault": runtime.cuda_fault}))
"""


def disk(examined: Examined) -> Iterator[Finding]:
    """Room where the data folder is, or will be."""
    yield disk_space(free_bytes(examined.data_dir), _existing(examined.data_dir))


def free_bytes(folder: Path) -> int:
    """Room on the disk where this folder is, or will be."""
    return shutil.disk_usage(_existing(folder)).free


def _existing(folder: Path) -> Path:
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())


def disk_space(free_bytes: int, folder: Path) -> Finding:
    """Whether so much is enough."""
    found = f"{free_bytes / 2**30:.1f} GiB free at {folder}"
    if free_bytes < DISK_FAIL_BYTES:
        return fail("disk", found, "Free some space now: Postgres stops when the disk is full.")
    if free_bytes < DISK_WARN_BYTES:
        return warn("disk", found, "Free some space, or move the data folder to a larger disk.")
    return ok("disk", found)


def runtime(examined: Examined) -> Iterator[Finding]:
    """Which execution provider a worker on this machine gets, detected by loading a model."""
    model = bundled()[0] / MODEL_NAME
    environment = {**os.environ, **examined.settings.environment()}
    try:
        ended = subprocess.run(
            [sys.executable, "-c", RUNTIME_PROBE, str(model)],
            env=environment, capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        yield fail(
            "runtime", f"a model did not load within {PROBE_TIMEOUT_S} s", "Look at the GPU and its driver."
        )
        return
    if ended.returncode != 0:
        yield runtime_fault(ended.stderr)
    else:
        yield provider(json.loads(ended.stdout.splitlines()[-1]), gpu=GPU_DEVICE.exists())


def chemistry(examined: Examined) -> Iterator[Finding]:  # noqa: ARG001 - it is this Python's
    """Whether RDKit is installed, which models of molecules need."""
    yield rdkit(molecules.version())


def rdkit(version: str | None) -> Finding:
    """Whether models of molecules can be scored with this version of RDKit; None if there is none."""
    if version is not None:
        return ok("chemistry", f"RDKit {version}")
    advice = (
        "Install medqueue[chem] where workers run to score molecules, and where the API runs to refuse SMILES that is "
        "wrong at submit; without such models this does not matter."
    )
    return warn("chemistry", "RDKit is not installed", advice)


def runtime_fault(stderr: str) -> Finding:
    """Why no model could be loaded, from the last line of a traceback."""
    last = (stderr.strip().splitlines() or ["no reason given"])[-1]
    name, _, words = last.partition(": ")
    if name.startswith("ModuleNotFoundError"):
        advice = "Install medqueue[cpu] or medqueue[gpu] where workers run; elsewhere this does not matter."
        return warn("runtime", words, advice)
    if name.endswith("ProviderUnavailable"):
        found, _, advice = words.partition(". ")
        return fail("runtime", f"{found}.", advice)
    return fail("runtime", f"no model could be loaded ({name})", "Reinstall medqueue[cpu] or medqueue[gpu].")


def provider(described: dict[str, str | None], *, gpu: bool) -> Finding:
    """Whether the provider that a worker gets makes use of this machine."""
    found = f"{described['runtime']}, {described['provider']}"
    if fault := described.get("cuda_fault"):
        reason, _, advice = fault.partition(". ")
        return warn("runtime", f"{found}; CUDA does not work here: {reason}", f"{advice}.")
    if gpu and described["provider"] == CPU:
        return warn("runtime", f"{found}, and there is a GPU", "Install medqueue[gpu] to run models on it.")
    return ok("runtime", found)
