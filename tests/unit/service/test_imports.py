"""What each process loads: memory is paid for by every one of them."""

import subprocess
import sys

import pytest

HEAVY = {
    "numpy",
    "pyarrow",
    "onnx",
    "onnxruntime",
    "rich",
    "alembic",
    "PIL",
    "simplejpeg",
    "torch",
    "aiohttp",
}
PROGRAM = """
import sys
import {modules}
{then}
print(*{{name.partition(".")[0] for name in sys.modules}})
"""
INTAKE = """
import json
from pathlib import Path
from models.manifest import ModelManifest
from models.pipelines import load_pipeline
zoo = Path("models/zoo")
def reader(folder):
    return lambda name: (folder / name).read_bytes()
folders = [path.parent for path in zoo.glob("*/manifest.toml")]
manifests = {folder: ModelManifest.parse((folder / "manifest.toml").read_text()) for folder in folders}
pipelines = {folder.name: load_pipeline(manifest, reader(folder)) for folder, manifest in manifests.items()}
cases = json.loads((zoo / "breast-cancer-wisconsin/golden.json").read_text())["cases"]
assert pipelines["breast-cancer-wisconsin"].encode(cases[0]["input"])
for pipeline in pipelines.values():
    assert pipeline.input_schema() and pipeline.result_schema()
from service.batches.files.formats import wanted_of
assert wanted_of(pipelines["breast-cancer-wisconsin"]).fields
from service.revision import needed_revision
assert needed_revision()
"""


def loaded(modules: str, then: str = "") -> set[str]:
    """The packages that a process has loaded after it imported `modules`."""
    program = PROGRAM.format(modules=modules, then=then)
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return set(ended.stdout.split())


def test_the_api_loads_nothing_that_works_on_arrays() -> None:
    assert loaded("service.app", INTAKE) & HEAVY == set()


@pytest.mark.parametrize("module", ["service.serving", "service.embedded", "service.cli"])
def test_what_only_starts_processes_loads_none_of_it_either(module: str) -> None:
    assert loaded(module) & (HEAVY - {"alembic"}) == set()


def test_a_scheduler_loads_nothing_that_scores() -> None:
    process = "workers.process.parts, workers.process.signals, workers.process.tasks"
    modules = f"{process}, workers.webhooks.delivery, workers.webhooks.outbound"
    assert loaded(modules) & HEAVY == set()


def test_the_command_line_can_still_draw_tables() -> None:
    assert "rich" in loaded("service, service.cli.tables")


@pytest.mark.parametrize("module", ["service.serving", "service.cli", "workers.process.tasks"])
def test_garbage_is_collected_seldom_while_a_process_starts(module: str) -> None:
    collections = loaded(module, "import gc; print(gc.get_stats()[0]['collections'], 'collections')")
    assert min(int(word) for word in collections if word.isdigit()) < 25
