"""Vectors of texts: how outputs of an encoder become one, which texts get none, and that their company does not matter."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.checking import check_bundle
from models.manifest import ManifestInvalid
from models.pipelines import Array, Case, InputRejected, PredictionInvalid, load_pipeline
from models.pipelines.text_embedding import TextEmbedding
from tests.unit.models.example_bundles import manifest
from tests.unit.models.example_encoder import write_encoder
from tests.unit.models.example_texts import TOKENS, write_tokenizer

SIZE = len(TOKENS)


def pipeline(**parameters: Any) -> TextEmbedding:
    made = load_pipeline(manifest("text-embedding", **parameters))
    assert isinstance(made, TextEmbedding)
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokenizer(tmp_path_factory.mktemp("bundle"))


def counts(feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
    """A graph: how often each token is in a window, special ones included. Padding counts where it is not masked."""
    assert graph == "model"
    one_hot = np.eye(SIZE, dtype=np.float32)[feeds["input_ids"]]
    return {"vector": (one_hot * feeds["attention_mask"][:, :, None]).sum(axis=1), "hidden": one_hot}


def results(made: TextEmbedding, folder: Path, *texts: str) -> list[dict[str, Any]]:
    cases = [Case(made.encode({"text": text})) for text in texts]
    return [each.result for each in made.open(folder).score(counts, cases)]


def weights(made: TextEmbedding, folder: Path, text: str) -> dict[str, float]:
    """The numbers of a text's vector that are not zero, by the token that they stand for."""
    [result] = results(made, folder, text)
    return {word: result["vector"][place] for word, place in TOKENS.items() if result["vector"][place]}


def test_a_text_gets_the_unit_vector_of_what_the_graph_gives(folder: Path) -> None:
    found = weights(pipeline(), folder, "no fever fever")
    one = 1 / 7**0.5
    assert found == pytest.approx({"[CLS]": one, "[SEP]": one, "no": one, "fever": 2 * one}, abs=1e-6)


def test_hidden_states_are_averaged_over_the_tokens_without_padding(folder: Path) -> None:
    found = weights(pipeline(pooling="mean"), folder, "no fever fever")
    assert found == pytest.approx(weights(pipeline(), folder, "no fever fever"))


def test_the_first_hidden_state_can_be_the_vector(folder: Path) -> None:
    assert weights(pipeline(pooling="first"), folder, "no fever") == {"[CLS]": 1.0}


def test_an_answer_states_encoder_dimension_and_what_was_read(folder: Path) -> None:
    [result] = results(pipeline(), folder, "Fever, no cough.")
    assert len(result.pop("vector")) == SIZE
    assert result == {
        "type": "embedding", "encoder": "words", "dimension": SIZE, "abstained": False, "abstain_reason": None,
        "tokens": 5, "windows": 1, "truncated": False,
    }  # fmt: skip


def test_the_windows_of_a_text_count_by_their_tokens(folder: Path) -> None:
    found = weights(pipeline(max_windows=2), folder, "no " * 14 + "fever")
    assert found["no"] / found["fever"] == pytest.approx((14 * 14 / 198**0.5) / (1 / 3**0.5), rel=1e-5)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("fever " * 29, "longer than the model reads"),
        ("fever toux", "too many words or characters that the model does not know"),
    ],
)
def test_a_text_that_was_not_read_gets_no_vector(folder: Path, text: str, reason: str) -> None:
    [result] = results(pipeline(max_windows=2, unknown=0.5), folder, text)
    assert (result["vector"], result["abstained"], result["abstain_reason"]) == (None, True, reason)


TEXTS = st.lists(st.sampled_from(["no", "fever", "cough", "pain"]), min_size=1, max_size=40).map(" ".join)


@given(st.lists(TEXTS, min_size=1, max_size=8))
def test_the_vector_of_a_text_does_not_depend_on_its_company(folder: Path, texts: list[str]) -> None:
    made = pipeline(max_windows=5, pooling="mean")
    alone = [results(made, folder, each)[0]["vector"] for each in texts]
    for order in (texts, texts[::-1]):
        together = [each["vector"] for each in results(made, folder, *order)]
        np.testing.assert_allclose(together, alone if order is texts else alone[::-1], atol=1e-6)


@pytest.mark.parametrize("wrong", [0.0, float("nan"), float("inf")])
def test_a_vector_without_direction_is_no_answer_and_names_its_text(folder: Path, wrong: float) -> None:
    def spoilt(feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
        vectors = counts(feeds)["vector"].copy()
        vectors[(feeds["input_ids"] == TOKENS["pain"]).any(axis=1)] = wrong
        return {"vector": vectors}

    made = pipeline()
    cases = [Case(made.encode({"text": text})) for text in ("fever", "pain", "cough")]
    with pytest.raises(PredictionInvalid) as invalid:
        made.open(folder).score(spoilt, cases)
    assert invalid.value.rows == (1,)


def test_what_is_no_text_is_refused() -> None:
    for text, code in ((" ", "blank_text"), ("f" * 201, "too_long"), ("no\x00fever", "unreadable_text")):
        with pytest.raises(InputRejected) as refused:
            pipeline().encode({"text": text})
        assert [(fault.pointer, fault.code) for fault in refused.value.faults] == [("/text", code)]


@pytest.mark.parametrize("changed", [{"dimension": 1}, {"pooling": "max"}, {"encoder": ""}])
def test_a_manifest_that_makes_no_sense_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ManifestInvalid) as refused:
        pipeline(**changed)
    assert next(iter(changed)) in refused.value.faults[0].place


def test_an_encoder_as_it_was_exported_is_publishable(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "bundle")
    assert check_bundle(folder) == []
    [first, *_] = json.loads((folder / "golden.json").read_text())["cases"]
    assert np.linalg.norm(first["expected"]["vector"]) == pytest.approx(1, abs=1e-6)
