"""Beats of electrocardiograms: which are found, what the graph is fed, what is refused, and what is abstained from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.manifest import ManifestInvalid
from models.pipelines import Array, Case, InputRejected, PredictionInvalid, load_pipeline
from models.pipelines.beat_classification import BeatClassification, read_beats
from models.pipelines.beat_features import FEATURES
from models.pipelines.r_peaks import r_peaks
from models.pipelines.signals import resampled, without_wander
from models.training.synthetic_ecg import recording
from tests.unit.models.example_bundles import manifest

RHYTHM = ["n"] * 9 + ["v"] + ["n"] * 7 + ["s"] + ["n"] * 9


def pipeline(**parameters: Any) -> BeatClassification:
    made = load_pipeline(manifest("beat-classification", **parameters))
    assert isinstance(made, BeatClassification)
    return made


def sent(
    kinds: list[str] | None = None, /, *, gain: float = 200, rate: float = 125, **changes: Any
) -> dict[str, Any]:
    """A recording as a caller sends it, in units of 1/gain mV."""
    samples, _ = recording(kinds or RHYTHM, rate=rate)
    case = {
        "lead": "II",
        "sampling_rate": rate,
        "gain": gain,
        "samples": np.round(samples * gain, 4).tolist(),
    }
    return case | changes


def refusal(value: Any, **parameters: Any) -> list[tuple[str, str]]:
    with pytest.raises(InputRejected) as refused:
        pipeline(**parameters).encode(value)
    assert all(fault.detail for fault in refused.value.faults)
    return [(fault.pointer, fault.code) for fault in refused.value.faults]


def by_prematurity(feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
    """A graph that answers from one feature: the share of the usual interval before a beat."""
    early = np.clip(1 - feeds["features"][:, FEATURES.index("pre_local")], 0, 1)
    return {"probability": early[:, None].astype(np.float32)}


def answer(value: Any, run: Any = by_prematurity, **parameters: Any) -> Any:
    made = pipeline(**parameters)
    return made.open(Path()).score(run, [Case(made.encode(value))])[0].result


@pytest.mark.parametrize("rate", [125, 250, 360, 1000, 128.5])
def test_every_beat_of_a_clean_recording_is_found_at_its_r_peak(rate: float) -> None:
    samples, beats = recording(RHYTHM, rate=rate)
    at_125 = without_wander(resampled(samples, rate, 125), 125, 0.8)
    found = r_peaks(at_125, 125)
    assert np.abs(found - np.array(beats) * 125 / rate).max() <= 2


def test_an_inverted_lead_has_the_same_beats() -> None:
    samples, _ = recording(RHYTHM)
    assert r_peaks(-samples, 125).tolist() == r_peaks(samples, 125).tolist()


@pytest.mark.parametrize("samples", [np.zeros(1250), np.zeros(0), np.ones(50)])
def test_a_flat_line_has_no_beats(samples: Array) -> None:
    assert r_peaks(samples, 125).tolist() == []


@pytest.mark.parametrize("rate", [250.0, 360.0, 1000.0, 128.5, 110.0])
def test_a_recording_is_brought_to_the_same_samples_from_any_rate(rate: float) -> None:
    clock, there = np.arange(0, 8, 1 / 125), np.arange(0, 8 + 1 / rate, 1 / rate)

    def wave(times: Array) -> Array:
        return np.sin(2 * np.pi * 7 * times) + 0.5 * np.cos(2 * np.pi * 31 * times)

    inner = slice(60, 900)
    assert np.abs(resampled(wave(there), rate, 125)[inner] - wave(clock)[inner]).max() < 0.01


def test_what_the_new_rate_cannot_hold_is_left_out() -> None:
    there = np.arange(0, 8, 1 / 1000)
    assert np.abs(resampled(np.sin(2 * np.pi * 90 * there), 1000, 125)[60:900]).max() < 0.01


@pytest.mark.parametrize(("rate", "gain"), [(250, 1), (360, 1000), (360, 200)])
def test_answers_agree_whatever_the_rate_and_the_unit(rate: float, gain: float) -> None:
    one, other = answer(sent()), answer(sent(rate=rate, gain=gain))
    assert one["counts"] == other["counts"]
    assert [each["label"] for each in one["beats"]] == [each["label"] for each in other["beats"]]
    gaps = [a["time_s"] - b["time_s"] for a, b in zip(one["beats"], other["beats"], strict=True)]
    assert max(map(abs, gaps)) < 0.02


def test_the_answer_has_each_beat_and_sums_up_the_recording() -> None:
    _, beats = recording(RHYTHM)
    result = answer(sent(beats=beats))
    assert [each["sample"] for each in result["beats"]] == beats
    assert [each["time_s"] for each in result["beats"]] == [beat / 125 for beat in beats]
    assert result["positions"] == "given"
    assert result["heart_rate"] == pytest.approx(60 / np.diff(beats).mean() * 125)
    assert result["intervals"]["shortest_s"] == np.diff(beats).min() / 125
    assert sum(result["counts"].values()) + result["beats_abstained"] == len(beats)
    assert result["duration_s"] == len(sent()["samples"]) / 125


def test_beats_that_are_sent_are_used_and_others_are_detected() -> None:
    _, beats = recording(RHYTHM)
    fewer = [beat for place, beat in enumerate(beats) if place != 4]
    assert len(answer(sent(beats=fewer))["beats"]) == len(beats) - 1
    detected = answer(sent())
    assert detected["positions"] == "detected"
    assert np.abs(np.array([each["sample"] for each in detected["beats"]]) - beats).max() <= 2


def test_a_premature_beat_differs_from_the_others_in_what_the_graph_is_fed() -> None:
    made = pipeline(feeds=["features", "window", "typical"])
    _, beats = recording(RHYTHM)
    reading = read_beats(made.read_input(made.encode(sent(beats=beats))), made.parameters)
    assert list(reading.feeds) == ["features", "window", "typical"]
    assert {(len(feed), feed.dtype.name) for feed in reading.feeds.values()} == {(len(beats), "float32")}
    specs = {spec.name: spec.shape for spec in made.graphs["model"].feeds}
    assert {name: feed.shape[1:] for name, feed in reading.feeds.items()} == specs
    fed = {name: reading.feeds["features"][:, place] for place, name in enumerate(FEATURES)}
    place = RHYTHM.index("v")
    assert fed["pre_local"][place] < 0.75 < fed["pre_local"][place - 2]
    assert fed["qrs_correlation"][place] < 0.9 < np.delete(fed["qrs_correlation"], place).min()
    assert fed["qrs_correlation_deviation"][place] < -5
    assert fed["width_50"][place] > fed["width_50"][0]
    assert fed["post_local"][place] > 1.2


def test_amplitude_and_offset_of_a_lead_change_no_relative_feature() -> None:
    made = pipeline()
    case = sent()
    doubled = case | {"samples": [2 * each + 300 for each in case["samples"]]}
    fed = [
        read_beats(made.read_input(made.encode(each)), made.parameters).feeds["features"]
        for each in (case, doubled)
    ]
    others = [name not in ("amplitude", "amplitude_deviation") for name in FEATURES]
    assert np.allclose(fed[0][:, others], fed[1][:, others], atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "pointer", "code"),
    [
        ({"samples": []}, "/samples", "too_short"),
        ({"samples": [0.0] * 1300}, "/samples", "flat_signal"),
        ({"samples": [5.0] * 1300}, "/samples", "flat_signal"),
        ({"samples": [0.0, None] * 700}, "/samples/1", "wrong_type"),
        ({"samples": [0.0, "1"] * 700}, "/samples/1", "wrong_type"),
        ({"samples": [0.0, float("nan")] * 700}, "/samples/1", "not_finite"),
        ({"sampling_rate": None}, "/sampling_rate", "missing_field"),
        ({"sampling_rate": 0}, "/sampling_rate", "out_of_range"),
        ({"sampling_rate": 5000}, "/sampling_rate", "out_of_range"),
        ({"sampling_rate": 1000}, "/samples", "too_short"),
        ({"gain": None}, "/gain", "missing_field"),
        ({"gain": 0}, "/gain", "out_of_range"),
        ({"gain": -200}, "/gain", "out_of_range"),
        ({"gain": 1}, "/samples", "out_of_range"),  # units sent as mV
        (
            {"gain": 200_000},
            "/samples",
            "out_of_range",
        ),  # millivolts sent as if they were microvolts, and the like
        ({"lead": "V1"}, "/lead", "not_allowed"),
        ({"lead": None}, "/lead", "missing_field"),
        ({"leads": ["II"]}, "/leads", "unknown_field"),
        ({"beats": [90, 80, *range(200, 2400, 100)]}, "/beats/1", "out_of_order"),
        ({"beats": [90, 90, *range(200, 2400, 100)]}, "/beats/1", "doubled"),
        ({"beats": [90, 100, *range(200, 2400, 100)]}, "/beats/1", "doubled"),
        ({"beats": [-1, *range(200, 2400, 100)]}, "/beats/0", "out_of_range"),
        ({"beats": [*range(200, 2400, 100), 10_000]}, "/beats/22", "out_of_range"),
        ({"beats": [90.5]}, "/beats/0", "wrong_type"),
        ({"beats": []}, "/beats", "too_short"),
        ({"beats": [90]}, "/beats", "too_short"),
    ],
)
def test_what_is_no_recording_is_refused_with_its_place(
    changes: dict[str, Any], pointer: str, code: str
) -> None:
    case = {name: each for name, each in (sent() | changes).items() if each is not None}
    assert (pointer, code) in refusal(case)


@pytest.mark.parametrize("place", [0, 700, -1])
@pytest.mark.parametrize("stray", [-32768, 11_000, 1e9, 1.7e308, -1.7e308])
def test_a_sample_that_no_heart_makes_is_refused_wherever_it_is(place: int, stray: float) -> None:
    case = sent()
    case["samples"][place] = stray
    assert refusal(case) == [("/samples", "out_of_range")]
    near = slice(max(place % len(case["samples"]) - 9, 0), place % len(case["samples"]) + 10)
    case["samples"][near] = [4000] * len(case["samples"][near])  # 20 mV: a movement of the electrode
    assert pipeline().encode(case)


@pytest.mark.parametrize("place", [0, 1, 699, 700, -1])
@pytest.mark.parametrize("stray_mv", [-20, -5, 5, 10, 49])
def test_a_sample_far_from_those_beside_it_is_refused_with_its_place(place: int, stray_mv: float) -> None:
    case = sent()
    case["samples"][place] += stray_mv * case["gain"]
    assert refusal(case) == [(f"/samples/{place % len(case['samples'])}", "out_of_range")]


@pytest.mark.parametrize("mv", [2.5, -2.5])
def test_a_sample_that_muscles_may_make_is_accepted(mv: float) -> None:
    case = sent()
    case["samples"][700] += mv * case["gain"]
    assert pipeline().encode(case)


def test_a_signal_that_jumps_between_two_stretches_is_refused() -> None:
    case = sent()
    case["samples"][1000:] = [each + 1e9 for each in case["samples"][1000:]]
    assert refusal(case) == [("/samples", "out_of_range")]


def still(start: int, end: int, noise: float = 0.0) -> tuple[dict[str, Any], list[int]]:
    """Sixty seconds whose samples from `start` to `end` are flat, or noise of so many units; the R peaks of the others."""
    samples, beats = recording(["n"] * 80)
    samples = samples[:7500] * 200
    chance = np.random.default_rng(5)
    samples[start:end] = samples[min(end, 7499)] + noise * chance.standard_normal(end - start)
    kept = [beat for beat in beats if not start - 20 <= beat < end + 20 and beat < 7500]
    return sent(samples=samples.tolist()), kept


@pytest.mark.parametrize("noise", [0.0, 2.0, 6.0])
@pytest.mark.parametrize(("start", "end"), [(0, 3500), (3000, 6500), (4000, 7500), (6600, 7500)])
def test_a_stretch_without_beats_is_abstained_from_wherever_it_is(start: int, end: int, noise: float) -> None:
    case, _ = still(start, end, noise)
    result = answer(case)
    assert "no beat was found for" in result["abstain_reason"]
    assert result["longest_without_beats_s"] == pytest.approx((end - start) / 125, abs=1.7)
    assert result["heart_rate"] is None


def test_a_short_stretch_without_beats_is_told_and_the_others_are_answered() -> None:
    case, _ = still(7000, 7500)
    result = answer(case)
    assert result["abstained"] is False
    assert 4 < result["longest_without_beats_s"] < 6
    assert result["intervals"]["longest_s"] < 1


def test_where_beats_are_sent_a_stretch_without_them_is_told() -> None:
    case, beats = still(4000, 7500, 2.0)
    result = answer(case | {"beats": beats})
    assert result["abstained"] is False
    assert result["longest_without_beats_s"] == (7500 - beats[-1]) / 125


def test_ten_seconds_are_read_and_nine_are_not() -> None:
    case = sent()
    assert answer(case | {"samples": case["samples"][:1250]})["beats"]
    assert refusal(case | {"samples": case["samples"][:1240]}) == [("/samples", "too_short")]


def test_a_recording_of_a_day_is_refused_by_its_length() -> None:
    day = [0, 100, -100, 0] * (24 * 3600 * 125 // 4)
    assert refusal(sent(samples=day)) == [("/samples", "too_long")]
    assert refusal(sent(), longest_s=12) == [("/samples", "too_long")]


def test_noise_is_abstained_from_as_a_whole() -> None:
    noise = np.random.default_rng(1).standard_normal(125 * 60) * 100
    result = answer(sent(samples=noise.tolist()), quality={**QUALITY, "least_agreement": 0.9})
    assert (result["abstained"], result["abstain_reason"]) == (True, "its beats have no shape in common")
    assert result["beats"] is None
    assert answer(sent(), quality={**QUALITY, "least_agreement": 0.9})["abstained"] is False


QUALITY = {
    "least_agreement": 0.0,
    "false_alarm_rate": 0.0,
    "catch_rate": 1.0,
    "foreign_set": "x",
    "source": "x",
}


def test_a_sampling_rate_that_makes_no_heart_rate_is_abstained_from() -> None:
    samples, beats = recording(["n"] * 10, interval_s=3)
    slow = sent(samples=(200 * samples).tolist(), beats=beats)
    assert "sampling rate" in answer(slow)["abstain_reason"]


@pytest.mark.parametrize(
    ("limits", "abstained"), [({"slowest": 80}, True), ({"fastest": 70}, True), ({}, False)]
)
def test_a_heart_rate_that_the_model_was_not_trained_with_is_abstained_from(
    limits: dict[str, float], abstained: bool
) -> None:
    result = answer(sent(["n"] * 20), quality={**QUALITY, **limits})
    assert result["abstained"] is abstained
    if abstained:
        low, high = limits.get("slowest", 25), limits.get("fastest", 250)
        assert f"between {low} and {high} beats a minute" in result["abstain_reason"]


@pytest.mark.parametrize("kept", [slice(None, None, 2), slice(None, 18), slice(9, None)])
def test_a_recording_of_which_many_beats_were_not_sent_is_abstained_from(kept: slice) -> None:
    _, beats = recording(RHYTHM)
    result = answer(sent(beats=beats[kept]))
    assert "beats that the signal shows were sent" in result["abstain_reason"]
    assert answer(sent(beats=[*beats[:5], *beats[6:]]))["abstained"] is False


def test_beats_of_another_recording_are_abstained_from() -> None:
    _, beats = recording(RHYTHM)
    shifted = [beat + 50 for beat in beats[:-1]]
    assert "do not lie on beats" in answer(sent(beats=shifted))["abstain_reason"]


def test_four_beats_are_too_few() -> None:
    _, beats = recording(RHYTHM)
    assert answer(sent(beats=beats[:4]))["abstain_reason"] == "fewer than 5 beats were found"


def test_recordings_of_mixed_lengths_are_answered_as_alone_and_in_runs_of_bounded_size() -> None:
    made = pipeline()
    sizes = []

    def run(feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
        sizes.append(len(feeds["features"]))
        return by_prematurity(feeds, graph)

    values = [sent(RHYTHM * times) for times in (1, 40, 2)]
    cases = [Case(made.encode(each)) for each in values]
    scoring = made.open(Path())
    together = [each.result for each in scoring.score(run, cases)]
    assert sizes == [27, 1024, 27 * 40 - 1024, 54]
    assert together == [scoring.score(run, [case])[0].result for case in cases]


def test_a_prediction_that_is_no_number_is_of_its_recording() -> None:
    def run(feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
        return {
            "probability": np.full(
                (len(feeds["features"]), 1), 0.5 if len(feeds["features"]) < 40 else np.nan
            )
        }

    made = pipeline()
    cases = [Case(made.encode(sent(beats))) for beats in (RHYTHM, RHYTHM * 2)]
    with pytest.raises(PredictionInvalid) as wrong:
        made.open(Path()).score(run, cases)
    assert wrong.value.rows == (1,)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shortest_s": 20.0, "longest_s": 20.0}, "shortest_s must be less"),
        ({"least_mv": 30.0}, "least_mv"),
        ({"quality": QUALITY | {"slowest": 90.0, "fastest": 60.0}}, "slowest must be less"),
        ({"feeds": ["window", "window"]}, "name each once"),
        ({"feeds": ["spectrum"]}, "feeds"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ManifestInvalid, match=words):
        pipeline(**change)


def test_the_example_that_is_shown_is_a_recording_that_is_scored() -> None:
    schema: Any = pipeline().input_schema()
    [example] = schema["examples"]
    assert answer(example, quality=QUALITY)["abstained"] is False
