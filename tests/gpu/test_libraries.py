"""The GPU image's own wheels, installed into a scratch folder: `make gpu-libs`, on a machine without NVIDIA's driver.

Proves that everything CUDA needs besides the driver comes with requirements-gpu.lock and is loaded, and that worker and
doctor name what is missing. Gigabytes are fetched, so it is no part of `make test`.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from service.bootstrap import bootstrap
from service.config import Settings
from service.embedded import worker_command
from service.process import WRONG_SETTING_STATUS
from workers import cuda

ROOT = Path(__file__).parents[2]
DRIVER_MISSING = f"missing driver: {cuda.DRIVER}"
LOAD = """
import pathlib, sys
from service.config import Provider
from workers.runtime import OnnxRuntime
runtime = OnnxRuntime(Provider(sys.argv[1]), allow_cpu=False, threads=1)
runtime.load(pathlib.Path("models/zoo/breast-cancer-wisconsin/model.onnx"))
print(runtime.provider, runtime.cuda_fault)
"""

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif("not config.getoption('--gpu-libs')", reason="installs gigabytes: make gpu-libs"),
    pytest.mark.skipif(cuda.has_driver(), reason="this machine has NVIDIA's driver"),
]


@pytest.fixture(scope="module")
def python() -> Iterator[Path]:
    """The interpreter of an environment with the wheels of the GPU image, removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="medqueue-gpu-libs-", dir="/var/tmp"))  # larger than /tmp, mostly
    try:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        subprocess.run(
            [
                *(sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-cache", "--require-hashes"),
                *("--python", folder / "bin" / "python", "-r", ROOT / "requirements-gpu.lock"),
            ],
            check=True,
        )
        yield folder / "bin" / "python"
    finally:
        shutil.rmtree(folder)


def test_a_worker_that_lacks_the_driver_alone_does_not_start_and_says_so(
    python: Path, settings: Settings
) -> None:
    settings.data_dir.mkdir(exist_ok=True)
    bootstrap(settings)
    ended = run(
        python, *worker_command("worker", "python")[1:], **settings.environment(), MEDQUEUE_PROVIDER="cuda"
    )
    assert ended.returncode == WRONG_SETTING_STATUS
    assert DRIVER_MISSING in ended.stderr
    assert "missing libraries" not in ended.stderr
    assert "MEDQUEUE_ALLOW_CPU=1" in ended.stderr
    assert not list((settings.data_dir / "run").glob("*.ready"))


def test_doctor_says_that_the_driver_is_missing(python: Path, settings: Settings) -> None:
    finding = runtime_finding(python, **settings.environment(), MEDQUEUE_PROVIDER="cuda")
    assert finding["status"] == "fail"
    assert DRIVER_MISSING in finding["found"]
    assert "missing libraries" not in finding["found"]
    assert "NVIDIA_DRIVER_CAPABILITIES=compute,utility" in finding["advice"]


def test_doctor_says_so_too_where_the_cpu_takes_the_place_of_cuda(python: Path, settings: Settings) -> None:
    for more in ({"MEDQUEUE_PROVIDER": "auto"}, {"MEDQUEUE_PROVIDER": "cuda", "MEDQUEUE_ALLOW_CPU": "1"}):
        finding = runtime_finding(python, **settings.environment(), **more)
        assert finding["status"] == "warn"
        assert DRIVER_MISSING in finding["found"]


def test_auto_runs_on_the_cpu_where_the_driver_is_missing(python: Path) -> None:
    ended = run(python, "-c", LOAD, "auto")
    assert ended.stdout.splitlines()[-1].startswith(f"CPUExecutionProvider {DRIVER_MISSING}")


def test_libraries_that_are_missing_are_named(python: Path) -> None:
    [cudnn] = python.parents[1].glob("lib/*/site-packages/nvidia/cudnn")
    with taken_away(cudnn.parent):
        ended = run(python, "-c", LOAD, "cuda")
    last = ended.stderr.splitlines()[-1]
    assert re.search(r"missing libraries: .*libcublasLt\.so\.\d+, libcudnn\.so\.\d+", last), last
    assert "Reinstall medqueue[gpu]" in last
    with taken_away(cudnn):
        assert "missing libraries: libcudnn.so.9;" in run(python, "-c", LOAD, "cuda").stderr


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no compiler for a driver of no use")
def test_a_driver_that_offers_no_gpu_is_told_apart(python: Path, tmp_path: Path) -> None:
    (tmp_path / "driver.c").write_text("int nothing;")
    subprocess.run(["cc", "-shared", "-o", tmp_path / cuda.DRIVER, tmp_path / "driver.c"], check=True)
    ended = run(python, "-c", LOAD, "cuda", LD_LIBRARY_PATH=str(tmp_path))
    assert "no usable GPU: CUDA driver version is insufficient for CUDA runtime version" in ended.stderr


def run(python: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command of ours in the GPU environment, over this checkout's code."""
    full = {"PATH": os.defpath, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **environment}
    return subprocess.run(
        [python, *words], env=full, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )


def runtime_finding(python: Path, **environment: str) -> dict[str, str]:
    """What `doctor` finds about the runtime."""
    data_dir = environment["MEDQUEUE_DATA_DIR"]
    ended = run(python, "-m", "service.cli", "doctor", "--json", "--data-dir", data_dir, **environment)
    [finding] = [each for each in json.loads(ended.stdout)["findings"] if each["check"] == "runtime"]
    return dict(finding)


@contextmanager
def taken_away(folder: Path) -> Iterator[None]:
    """Without this folder while the block lasts."""
    aside = folder.with_name(f"{folder.name}-aside")
    folder.rename(aside)
    try:
        yield
    finally:
        aside.rename(folder)
