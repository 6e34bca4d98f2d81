"""What a recommender is made of: its catalogue, its groups of codes and the fields of its manifest; and what refuses each."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.manifest import ManifestInvalid, ModelManifest
from models.pipelines import Array, Case, SideFileUnusable, load_pipeline
from models.pipelines.item_catalogue import Catalogue
from tests.unit.models.example_bundles import manifest_table
from tests.unit.models.example_recommender import CATALOGUE, FIELDS, IDS, PARAMETERS, read, recommender


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff\xfe", "not CSV in UTF-8"),
        (b"", "must name columns"),
        (b"id\na\n", "must name columns"),
        (b"id,display,colour\na,b,c\n", "must name columns"),
        (b"id,display\n", "no item"),
        (b"id,display\na\n", "line 2 has 1 cells"),
        (b"id,display\na,\n", "line 2 lacks display"),
        (b"id,display,system\na,b,http://x\n", "both system and code"),
        (b"id,display\na,b\nA,c\n", "means two items"),
        (b"id,display,also\na,b,x\nc,d,X\n", "means two items"),
        (b"id,display,withdrawn\na,b,gone\n", "no item"),
    ],
)
def test_a_damaged_catalogue_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(SideFileUnusable, match=reason):
        Catalogue.read(content, "catalogue.csv")


def test_withdrawn_items_are_no_columns_of_the_graph() -> None:
    [spec] = recommender().graphs.values()
    assert [(feed.name, feed.shape) for feed in spec.feeds] == [("history", (5,)), ("context", (7,))]
    assert [item.id for item in Catalogue.read(CATALOGUE.encode(), "catalogue.csv").items] == IDS


@pytest.mark.parametrize(
    "context",
    [
        [FIELDS[0], FIELDS[0]],
        [{**FIELDS[1], "name": "history"}],
        [{**FIELDS[1], "bins": [65.0, 40.0]}],
        [{**FIELDS[1], "bins": []}],
        [{**FIELDS[1], "missing": 0.0}],
        [{**FIELDS[2], "values": ["a", "a"]}],
        [{**FIELDS[2], "type": "text"}],
        [{**FIELDS[0], "file": "elsewhere.csv"}],
    ],
)
def test_fields_that_cannot_be_fed_are_refused(context: list[dict[str, Any]]) -> None:
    table = manifest_table("recommendation") | {"parameters": {**PARAMETERS, "context": context}}

    def reading(path: str) -> bytes:
        if path == "elsewhere.csv":
            raise SideFileUnusable(path, "side_file_missing", "the bundle has no such file")
        return read(path)

    with pytest.raises(ManifestInvalid, match="context"):
        load_pipeline(ModelManifest.model_validate(table), reading)


def test_groups_that_share_a_code_are_refused() -> None:
    def reading(path: str) -> bytes:
        return b"group,display,codes\na,A,250\nb,B,250\n" if path == "groups.csv" else read(path)

    table = manifest_table("recommendation") | {"parameters": PARAMETERS}
    with pytest.raises(SideFileUnusable, match=r"line 3: .250. is listed before"):
        load_pipeline(ModelManifest.model_validate(table), reading)


def test_a_number_without_bins_is_fed_as_it_is_and_what_is_missing_as_the_manifest_says() -> None:
    field = {
        "name": "age",
        "title": "Age",
        "type": "number",
        "minimum": 0.0,
        "maximum": 120.0,
        "missing": -1.0,
    }
    made, fed = recommender(context=[field]), []

    def run(feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
        fed.append(feeds["context"].tolist())
        return {"scores": np.zeros((len(feeds["history"]), len(IDS)))}

    cases = [
        Case(made.encode({"history": ["aspirin"], **each}), {"reasons": 0}) for each in ({"age": 44.0}, {})
    ]
    made.open(Path()).score(run, cases)
    assert fed == [[[-1.0], [44.0], [-1.0]]]
