"""Recordings whose fault their beats do not show: clipped, flat in part, or of another sampling rate."""

import numpy as np
import pytest

from models.manifest import ManifestInvalid
from models.training.synthetic_ecg import recording
from tests.unit.models.example_bundles import OWN
from tests.unit.models.test_beat_classification import answer, pipeline, sent, still


def test_a_flat_line_for_long_is_abstained_from_though_beats_are_sent() -> None:
    case, beats = still(4000, 7500)
    result = answer(case | {"beats": beats})
    assert result["abstain_reason"] == "the signal is a flat line for 28.0 s of 60.0 s"


def test_beats_beside_a_flat_stretch_are_abstained_from_and_no_others() -> None:
    case, _ = still(4000, 4250)
    result = answer(case)
    assert result["abstained"] is False
    doubted = [each["time_s"] for each in result["beats"] if each["abstained"]]
    assert [31 < time < 32 or 34 < time < 35 for time in doubted] == [True, True]
    assert (
        "beside a flat line" in next(each for each in result["beats"] if each["abstained"])["abstain_reason"]
    )


def test_a_sample_that_is_repeated_for_less_than_half_a_second_is_a_signal() -> None:
    case, _ = still(4020, 4075)
    assert not any(each["abstained"] for each in answer(case)["beats"])


@pytest.mark.parametrize("height", [0.4, 0.6, 0.8])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_clipped_signal_is_abstained_from(height: float, sign: int) -> None:
    samples, _ = recording(["n"] * 30)
    highest = float(np.median(np.sort(samples)[-30:]))
    clipped = sign * np.minimum(samples, height * highest) * 200
    result = answer(sent(samples=clipped.tolist()))
    assert (
        result["abstain_reason"] == "the signal is clipped: many samples have its greatest or its least value"
    )
    assert answer(sent(samples=(sign * samples * 200).tolist()))["abstain_reason"] is None


def test_a_recording_of_shifted_frequencies_is_abstained_from() -> None:
    case = sent()
    quality = {**OWN["beat-classification"]["quality"]}
    found = answer(case, quality={**quality, "least_centroid_hz": 40.0})
    assert "Hz is not between 40 and" in found["abstain_reason"]
    found = answer(case, quality={**quality, "most_centroid_hz": 6.0})
    assert "compare the sampling rate" in found["abstain_reason"]
    with pytest.raises(ManifestInvalid, match="least_centroid_hz"):
        pipeline(quality={**quality, "least_centroid_hz": 7.0, "most_centroid_hz": 6.0})
