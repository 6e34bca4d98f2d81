"""The bundled model of beats: recordings of mixed lengths, units and rates, those it abstains from, and how it was measured."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from models.bundle import bundled, fitted, read_bundle
from models.difference import difference
from models.pipelines import Case, InputRejected, load_pipeline
from models.sandbox import CpuRun
from models.training.heartbeats import NOISES, jk_index, kappa, noise, paired, table_of
from models.training.synthetic_ecg import recording

[FOLDER] = [folder for folder in bundled() if folder.name == "ecg-beats"]
BUNDLE = read_bundle(FOLDER)
PIPELINE = load_pipeline(BUNDLE.manifest)
SCORING = PIPELINE.open(FOLDER)
TRIGEMINY = "nnv" * 7


def sent(
    beats: str, *, gain: float = 200, rate: float = 125, interval_s: float = 0.8, times: int = 1
) -> dict[str, Any]:
    """A made-up recording as a caller sends it, repeated a number of times."""
    samples, _ = recording(list(beats), rate=rate, interval_s=interval_s)
    return case_of(np.tile(samples, times), gain, rate)


def case_of(samples: Any, gain: float = 200, rate: float = 125) -> dict[str, Any]:
    return {"lead": "II", "sampling_rate": rate, "gain": gain, "samples": (samples * gain).tolist()}


def answers(values: Sequence[Any]) -> list[Any]:
    """The results of values that are scored together."""
    run = fitted(FOLDER, BUNDLE.manifest, PIPELINE, CpuRun())
    return [each.result for each in SCORING.score(run, [Case(PIPELINE.encode(value)) for value in values])]


def letters(result: Any) -> str:
    return "".join(each["label"] or "-" for each in result["beats"])


def test_recordings_of_mixed_lengths_are_answered_as_alone_and_in_any_order() -> None:
    values = [
        sent(TRIGEMINY),
        sent("nnnnsnnn" * 4, times=4),
        sent("n" * 30, times=40),
        sent("nnnnnvnnn" * 4, rate=250),
    ]
    alone = [answers([value])[0] for value in values]
    tolerance = BUNDLE.manifest.runtime.tolerance
    for order in ([0, 1, 2, 3], [3, 2, 0, 1, 0]):
        together = answers([values[place] for place in order])
        for place, result in zip(order, together, strict=True):
            assert difference(alone[place], result, tolerance) is None


@pytest.mark.parametrize(("gain", "rate"), [(1, 125), (1000, 250), (200, 360), (200, 500)])
def test_every_class_is_told_whatever_the_unit_and_the_rate(gain: float, rate: float) -> None:
    beats = "nnnnsnnnvnnfnnnn"
    [result] = answers([sent(beats, gain=gain, rate=rate)])
    assert letters(result) == beats


@pytest.mark.parametrize("kind", NOISES[:4])
def test_a_recording_of_no_heart_is_abstained_from(kind: str) -> None:
    samples = noise(kind, 60, np.random.default_rng(3))
    [result] = answers([case_of(samples)])
    assert result["abstained"]
    assert result["beats"] is None


@pytest.mark.parametrize("rate", [0.7, 1.0, 1.3, 1.7])
@pytest.mark.parametrize("shape", ["sine", "triangle", "sawtooth", "square wave"])
def test_a_wave_that_has_no_qrs_complexes_is_abstained_from(shape: str, rate: float) -> None:
    cycles = np.arange(7500) / 125 * rate
    rising = cycles % 1
    shapes = {
        "sine": np.sin(2 * np.pi * cycles),
        "triangle": 2 * np.abs(rising - 0.5),
        "sawtooth": rising,
        "square wave": np.sign(rising - 0.5),
    }
    [result] = answers([case_of(shapes[shape])])
    assert result["abstained"]


def test_a_sustained_ventricular_tachycardia_is_not_called_normal() -> None:
    [result] = answers([sent("v" * 34, interval_s=0.43)])
    assert "heart rate is not between 40 and 125" in result["abstain_reason"]


def test_detected_beats_are_paired_with_the_nearest_annotated_ones_each_once() -> None:
    annotated = np.array([100, 200, 300, 400])
    found = np.array([90, 104, 202, 250, 419, 500])
    assert paired(found, annotated, 19).tolist() == [-1, 0, 1, -1, 3, -1]
    assert paired(found, annotated[:1], 19).tolist() == [-1, 0, -1, -1, -1, -1]
    assert paired(found, annotated, 18).tolist() == [-1, 0, 1, -1, -1, -1]


def test_the_index_is_half_of_kappa_and_an_eighth_of_the_shares_of_s_and_v() -> None:
    truth = np.array([0] * 6 + [1] * 2 + [2] * 4)
    answered = np.array([0, 0, 0, 0, 1, 2, 1, 0, 2, 2, 2, 0])
    table = table_of(answered, truth)
    assert table[:3, :3].tolist() == [[4, 1, 1], [1, 1, 0], [1, 0, 3]]
    chance = (6 * 6 + 2 * 2 + 4 * 4) / 144
    assert kappa(table) == pytest.approx((8 / 12 - chance) / (1 - chance))
    assert jk_index(table) == pytest.approx(kappa(table) / 2 + (1 / 2 + 3 / 4 + 1 / 2 + 3 / 4) / 8)
    assert jk_index(np.diag([5.0, 4, 3, 2])) == pytest.approx(1)


@pytest.mark.parametrize("factor", [10, 0.1])
def test_a_gain_that_is_wrong_by_ten_is_refused(factor: float) -> None:
    case = sent("n" * 20)
    with pytest.raises(InputRejected) as refused:
        PIPELINE.encode({**case, "gain": case["gain"] / factor})
    assert [fault.code for fault in refused.value.faults] == ["out_of_range"]


def test_a_clipped_recording_is_abstained_from_and_an_inverted_one_answered_alike() -> None:
    samples, _ = recording(list("nnnnnvnnnnnvnnnn" * 2))
    plain, inverted, clipped = answers(
        [case_of(samples), case_of(-samples), case_of(np.minimum(samples, 0.6 * samples.max()))]
    )
    assert letters(inverted) == letters(plain)
    assert "clipped" in clipped["abstain_reason"]
