"""What the longest inputs take of memory, from their bodies to their stored bytes: no more than was reckoned before."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from service.api.http.turns import MOST_OBJECTS_MB, MOST_PARSING_S, cost_of

MB = 2**20
ROOT = Path(__file__).parents[4]
SLACK_MB = 12.0
BODY_LIMIT_BYTES = 16 * MB
TWO_HOURS = (
    2 * 3600 * 360
)  # samples: the longest recording that ecg-beats takes, at the rate of the MIT-BIH database

# Reads a body from its standard input as the API does, and prints the MB that it took beyond the body, and the outcome.
CHILD = """
import sys, tomllib
from pathlib import Path
from models.manifest import ModelManifest
from models.pipelines import InputRejected, load_pipeline
from models.strict_json import read_json
from service.process import return_large_memory, settle

return_large_memory()
folder = Path("models/zoo") / sys.argv[1]
manifest = ModelManifest.model_validate(tomllib.loads((folder / "manifest.toml").read_text()))
model = load_pipeline(manifest, lambda name: (folder / name).read_bytes())

def resident_mb(kind):
    text = Path("/proc/self/status").read_text()
    return int(text.partition(f"{kind}:")[2].split()[0]) / 1024

body = sys.stdin.buffer.read()
settle()
before = resident_mb("VmRSS")
Path("/proc/self/clear_refs").write_text("5")  # begin with a new peak
value = read_json(body)["input"]
del body
try:
    told = f"{len(model.encode(value))} bytes"
except InputRejected as rejected:
    told = " ".join(fault.code for fault in rejected.faults)
print(resident_mb("VmHWM") - before, told)
"""


def taken(model: str, value: str) -> tuple[float, str, float]:
    """The MB that a model's input took at most, what came of it, and the MB that were reckoned."""
    body = f'{{"model": "{model}", "input": {value}}}'.encode()
    cost = cost_of(body)
    assert cost.megabytes <= MOST_OBJECTS_MB
    assert cost.seconds <= MOST_PARSING_S
    assert len(body) <= BODY_LIMIT_BYTES
    child = subprocess.run(
        [sys.executable, "-c", CHILD, model], input=body, cwd=ROOT, capture_output=True, check=True
    )
    most, _, told = child.stdout.decode().strip().partition(" ")
    return float(most), told, cost.megabytes


def recording(samples: str, gain: int, more: str = "") -> str:
    return f'{{"lead": "II", "sampling_rate": 360, "gain": {gain}, "samples": [{samples}]{more}}}'


def beats(count: int) -> list[int]:
    """A recording in units of 5 µV, with a beat a second."""
    second = [1024 + place * 7 % 61 + (200 if place == 100 else 0) for place in range(360)]
    return [second[place % 360] for place in range(count)]


INTEGERS = json.dumps(beats(TWO_HOURS), separators=(",", ":"))[1:-1]
FLOATS = json.dumps([each / 200 for each in beats(TWO_HOURS)], separators=(",", ":"))[1:-1]
ZEROS = ",".join(["1000"] * TWO_HOURS)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak is read from Linux's /proc")
@pytest.mark.parametrize(
    ("model", "value", "outcome"),
    [
        ("ecg-beats", recording(INTEGERS, 200), "bytes"),
        ("ecg-beats", recording(FLOATS, 1), "bytes"),
        ("ecg-beats", recording(INTEGERS + ',"0"', 200), "wrong_type"),
        ("ecg-beats", recording(INTEGERS, 200, ', "beats": ["a"]'), "wrong_type"),
        ("ecg-beats", recording("0", 200, f', "other": [{ZEROS}]'), "too_short unknown_field"),
        ("icu-mortality", f'{{"observations": [{ZEROS}]}}', "too_long"),
        ("icu-mortality", f"[{ZEROS}]", "not_an_object"),
        ("question-entities", f'{{"text": [{ZEROS}]}}', "wrong_type"),
        ("breast-cancer-wisconsin", f'{{"mean_radius": [{ZEROS}]}}', "wrong_type"),
    ],
    ids=[
        "integers", "floats", "a text among them", "beats that are texts", "unknown", "no observations", "no object",
        "no text", "no numbers",
    ],
)  # fmt: skip
def test_the_longest_input_takes_no_more_than_was_reckoned(model: str, value: str, outcome: str) -> None:
    most_mb, told, reckoned_mb = taken(model, value)
    assert outcome in told
    assert most_mb < reckoned_mb + SLACK_MB
