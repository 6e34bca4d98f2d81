"""What the checks found, as JSON and as a section of docs/benchmarks.md.

`python -m benchmarks.gpu.report gpu.json` takes what another machine found into this checkout.
"""

import json
import platform
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnxruntime as ort

from benchmarks import machine
from benchmarks.gpu.checks import Found, read, written
from benchmarks.gpu.device import Device
from workers import cuda

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "benchmarks.md"
FIGURES = ROOT / "benchmarks" / "results" / "gpu.json"
TITLE = "## On a GPU"
SECTION = re.compile(rf"{TITLE}\n.*?(?=^## |\Z)", re.DOTALL | re.MULTILINE)
SMI = ("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader")


def content(device: Device, findings: Sequence[Found], took_s: float) -> dict[str, Any]:
    """Everything that was found, and on what."""
    return {
        "device": device.provider.value,
        "gpu": gpu() if device.on_cuda else "none",
        "quick": device.quick,
        "date": time.strftime("%Y-%m-%d"),
        "took_s": round(took_s, 1),
        "machine": machine.describe(),
        "versions": {
            "python": platform.python_version(), "onnxruntime": ort.__version__, "CUDA": cuda.VERSION or "none",
        },
        "checks": [written(found) for found in findings],
    }  # fmt: skip


def gpu() -> str:
    """The GPU, its driver and its memory, as nvidia-smi has them."""
    try:
        ended = subprocess.run(SMI, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return ended.stdout.strip().replace("\n", "; ") or "unknown"


def section(table: dict[str, Any]) -> str:
    """The section of the page."""
    lines = [
        TITLE,
        "",
        f"Checked and measured by `make gpu` on {table['date']} in {table['took_s']:,.0f} s, with one worker: {table['gpu']}.",
    ]
    for found in map(read, table["checks"]):
        outcome = found.outcome if not found.reason else f"{found.outcome}: {found.reason}"
        lines += ["", f"**{found.name}** ({outcome}). {found.question}", ""]
        if found.figures:
            lines += ["| figure | unit | value |", "| --- | --- | --- |"]
            lines += [f"| {each.label} | {each.unit} | {each.text} |" for each in found.figures]
    circumstances = {**table["machine"], **table["versions"]}
    lines += ["", ", ".join(f"{name} {value}" for name, value in circumstances.items()) + "."]
    return "\n".join(lines) + "\n"


def placed(page: str, new: str) -> str:
    """The page with the section in place of its old one, or before what it says of the comparison."""
    if SECTION.search(page):
        return SECTION.sub(lambda _: f"{new}\n", page, count=1)
    before, heading, after = page.partition("## What is compared\n")
    return f"{before}{new}\n{heading}{after}" if heading else f"{page}\n{new}"


def take_in(source: Path) -> None:
    """Put what was found into this checkout."""
    table = json.loads(source.read_text())
    FIGURES.write_text(json.dumps(table, indent=1) + "\n")
    PAGE.write_text(placed(PAGE.read_text(), section(table)))


if __name__ == "__main__":
    take_in(Path(sys.argv[1]))
