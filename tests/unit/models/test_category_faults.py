"""Values of a category that the graph's encoder does not know are refused, where its encoder can be told."""

from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto, helper

from models.bundle import seal_bundle
from models.checking import check_bundle
from models.manifest import Fault
from models.sandbox import CpuRun
from models.table_guess import Values, encoded_values
from tests.unit.models.test_foreign_words import AGE, SEX, SITE, SMOKER, STAGE, VISITS, write


def faults(folder: Path, name: str, *features: str) -> list[Fault]:
    """Of a bundle whose golden cases have no answers, those of the values."""
    write(folder, name, features=list(features))
    seal_bundle(folder)
    return [fault for fault in check_bundle(folder, CpuRun()) if fault.code == "values_unknown"]


def test_a_misspelt_value_is_refused_with_both_lists(tmp_path: Path) -> None:
    [fault] = faults(tmp_path, "sklearn-columns", AGE, VISITS, SEX.replace('"male"', '"Male"'), SITE)
    assert fault.place == "manifest.toml: parameters.features"
    assert fault.detail == (
        "the graph's encoder does not know 'Male' of 'sex', whose values are 'female', 'Male': it knows 'female', 'male', "
        "spelled in this way"
    )


def test_a_misspelt_value_of_a_column_of_a_shared_input_is_refused(tmp_path: Path) -> None:
    [fault] = faults(tmp_path, "sklearn-ordinal", SEX, SITE.replace("leg, lower", "leg"))
    assert "does not know 'leg' of 'site'" in fault.detail


def test_more_values_than_the_encoder_has_places_are_refused(tmp_path: Path) -> None:
    [fault] = faults(tmp_path, "sklearn-codes", AGE, SMOKER, STAGE.replace('"late"', '"late", "later"'))
    assert "does not know 3 of 'stage'" in fault.detail


@pytest.mark.parametrize(
    ("name", "features"),
    [
        ("sklearn-columns", [AGE, VISITS, SEX, SITE]),
        ("sklearn-columns", [AGE, VISITS, SEX, SITE.replace('"Arm", ', "")]),
        ("sklearn-ordinal", [SEX, SITE]),
        ("sklearn-codes", [AGE, SMOKER, STAGE]),
    ],
)
def test_values_that_the_encoder_knows_are_good(name: str, features: list[str], tmp_path: Path) -> None:
    assert faults(tmp_path, name, *features) == []


def encoder(given: str, *values: str) -> Any:
    return helper.make_node(
        "OneHotEncoder", [given], [f"{given}_{values[0]}"], domain="ai.onnx.ml", cats_strings=values
    )


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([encoder("x", "a", "b")], ("a", "b")),
        ([helper.make_node("Identity", ["x"], ["y"]), encoder("y", "a", "b")], ("a", "b")),
        ([encoder("x", "a", "b"), encoder("x", "a", "b")], ("a", "b")),
        ([encoder("x", "a", "b"), encoder("x", "b", "c")], ()),
        ([encoder("x", "a", "b"), helper.make_node("Equal", ["x", "c"], ["same"])], ()),
        ([helper.make_node("StringNormalizer", ["x"], ["y"]), encoder("y", "a", "b")], ()),
        ([], ()),
    ],
)
def test_values_are_those_of_the_only_encoder_that_an_input_goes_to(
    nodes: list[Any], expected: Values
) -> None:
    given = helper.make_tensor_value_info("x", TensorProto.STRING, [None, 1])
    assert encoded_values(helper.make_graph(nodes, "g", [given], []), "x", None) == expected
