"""What graphs give for inputs at the ends of what is accepted: logits are no probabilities, nor are these logits."""

from collections.abc import Mapping

import numpy as np
import pytest

from models.pipelines import Array, load_pipeline
from models.probing import check_probabilities
from tests.unit.models.example_bundles import manifest


def test_opposite_effects_do_not_hide_logits() -> None:
    """At the least and the greatest of all fields the two effects cancel out."""

    def opposed(feeds: Mapping[str, Array]) -> dict[str, Array]:
        rows = feeds["features"]
        return {"probability": (0.5 + 0.3 * (rows[:, :1] / 50) - 0.3 * (rows[:, 1:] / 120)).clip(0.0, 1.9)}

    def stronger(feeds: Mapping[str, Array]) -> dict[str, Array]:
        return {"probability": opposed(feeds)["probability"] * 2 - 0.5}

    pipeline = load_pipeline(manifest())
    assert check_probabilities(pipeline, 2, opposed) == []
    [fault] = check_probabilities(pipeline, 2, stronger)
    assert fault.code == "not_a_probability"


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("formats", [["PNG"], ["JPEG"]])
def test_an_image_model_that_gives_logits_is_refused(channels: int, formats: list[str]) -> None:
    pipeline = load_pipeline(manifest("image-classification", channels=channels, formats=formats))

    def contrast(feeds: Mapping[str, Array]) -> dict[str, Array]:
        return {"probability": 4 * feeds["image"].std(axis=(1, 2, 3))[:, None] - 0.1}

    def probability(feeds: Mapping[str, Array]) -> dict[str, Array]:
        return {"probability": 1 / (1 + np.exp(-contrast(feeds)["probability"]))}

    assert [fault.code for fault in check_probabilities(pipeline, 64, contrast)] == ["not_a_probability"]
    assert check_probabilities(pipeline, 64, probability) == []


def softmax(scores: Array) -> Array:
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    found: Array = shares / shares.sum(axis=1, keepdims=True)
    return found


@pytest.mark.parametrize("overflows", [False, True])
def test_probabilities_that_are_named_as_logits_are_refused(overflows: bool) -> None:
    """Softmax over them would answer quietly, and wrong: 0.73 where the graph is certain."""
    pipeline = load_pipeline(manifest(positive=None, threshold=None, output="logits"))

    def logits(feeds: Mapping[str, Array]) -> dict[str, Array]:
        rows = feeds["features"] / 10
        found = np.where((rows > 11) & overflows, np.nan, rows)
        return {"logits": np.stack([found[:, 1], 0 - found[:, 1]], axis=1)}

    def probabilities(feeds: Mapping[str, Array]) -> dict[str, Array]:
        return {"logits": softmax(logits(feeds)["logits"])}

    def sigmoids(feeds: Mapping[str, Array]) -> dict[str, Array]:
        return {"logits": 1 / (1 + np.exp(-logits(feeds)["logits"][:, [0, 0]]))}

    assert check_probabilities(pipeline, 8, logits) == []
    [fault] = check_probabilities(pipeline, 8, probabilities)
    assert (fault.place, fault.code) == ("manifest.toml: parameters.output", "not_a_logit")
    assert 'write `output = "probabilities"`' in fault.detail
    assert len(check_probabilities(pipeline, 8, sigmoids)) == (not overflows)


def test_a_probability_that_is_named_as_a_logit_is_refused() -> None:
    pipeline = load_pipeline(manifest(output="logit"))

    def logit(feeds: Mapping[str, Array]) -> dict[str, Array]:
        return {"logit": feeds["features"] @ np.array([[0.1], [0.02]]) - 2}

    def probability(feeds: Mapping[str, Array]) -> dict[str, Array]:
        return {"logit": 1 / (1 + np.exp(-logit(feeds)["logit"]))}

    assert check_probabilities(pipeline, 8, logit) == []
    [fault] = check_probabilities(pipeline, 8, probability)
    assert (fault.place, fault.code) == ("manifest.toml: parameters.output", "not_a_logit")
    assert "`outputs.probability` in [graph]" in fault.detail


def test_what_is_no_number_beyond_the_golden_cases_is_left_to_the_worker() -> None:
    def nothing(feeds: Mapping[str, Array]) -> dict[str, Array]:
        return {"probability": np.full((len(feeds["features"]), 1), np.nan, np.float32)}

    assert check_probabilities(load_pipeline(manifest()), 8, nothing) == []


def test_what_is_no_probability_is_told_with_its_value() -> None:
    def once(feeds: Mapping[str, Array]) -> dict[str, Array]:
        given = np.full((len(feeds["features"]), 1), 0.5)
        given[0] = 1.5
        return {"probability": given}

    [fault] = check_probabilities(load_pipeline(manifest()), 4096, once)
    assert fault.detail.startswith("'probability' is 1.5 for an input")
