"""What a fault of a manifest or of golden cases says: what to write, without pydantic's words or a regular expression."""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

import pytest

from models import pipelines
from models.golden_cases import parse_golden
from models.manifest import BundleRefused, ManifestTable, ModelManifest
from models.manifest_words import FORMS
from models.pipelines import load_pipeline
from tests.unit.models.example_bundles import FEATURES, manifest, manifest_table, toml

PYDANTIC = re.compile(r"Input should|String should|Tuple should|valid (tuple|dictionary)|instance of|[\\^$]")


def said(refused: BundleRefused) -> dict[str, str]:
    """Every fault by its key."""
    assert [str(fault) for fault in refused.faults if PYDANTIC.search(fault.detail)] == []
    return {fault.place.partition(": ")[2]: fault.detail for fault in refused.faults}


@pytest.mark.parametrize(
    ("changed", "key", "words"),
    [
        ({"version": "1.0"}, "version", "write three numbers joined by dots, such as 1.0.0"),
        ({"name": "A b"}, "name", "write lower-case letters and digits, in words joined by single hyphens"),
        ({"kind": "diagnosi"}, "kind", "it must be 'diagnosis', 'recommendation' or 'generation'"),
        ({"title": ""}, "title", "it is empty"),
        ({"summary": 3}, "summary", "write a string, in quotes"),
        ({"runtime": {"max_batch": 0}}, "runtime.max_batch", "write a number of at least 1"),
        ({"runtime": {"max_batch": 4097}}, "runtime.max_batch", "write a number of at most 4096"),
        ({"runtime": {"run_timeout_s": 0}}, "runtime.run_timeout_s", "write a number greater than 0"),
        ({"runtime": {"max_wait_ms": 1.5}}, "runtime.max_wait_ms", "write a whole number"),
        ({"runtime": {"tolerance": "x"}}, "runtime.tolerance", "write a number, without quotes"),
        ({"graph": {"row_by_row": 1}}, "graph.row_by_row", "write true or false, without quotes"),
        ({"graph": {"outputs": 3}}, "graph.outputs", "write keys with values"),
        ({"graph": {"inputs": {"x": 3}}}, "graph.inputs", "'x' must be an input of the graph, in quotes"),
        ({"graph": {"inputs": {"x": []}}}, "graph.inputs", "'x' must be an input of the graph, in quotes"),
        ({"graph": {"inputs": {"x": ["a", 1]}}}, "graph.inputs", "'x' must be an input of the graph"),
    ],
)
def test_a_fault_of_the_manifest_says_what_to_write(changed: dict[str, Any], key: str, words: str) -> None:
    with pytest.raises(BundleRefused) as caught:
        ModelManifest.parse(toml(manifest_table() | changed))
    assert words in said(caught.value)[key]


@pytest.mark.parametrize(
    ("parameters", "faults"),
    [
        ({"labels": 3}, {"labels": "write a list, in [ ]"}),
        ({"labels": ["a"]}, {"labels": "write at least 2 elements; it has 1"}),
        ({"labels": ["A b", "c"]}, {"labels[0].id": "write lower-case letters, digits, _ and -"}),
        (
            {"labels": [{"id": "a", "display": "A", "system": "ICD", "code": "J18"}, "b"]},
            {"labels[0].system": "write the code system's URI, such as http://snomed.info/sct"},
        ),
        ({"features": [FEATURES[0] | {"unit": "mg per dl"}]}, {"features[0].unit": "write the UCUM code"}),
        ({"features": [FEATURES[0] | {"name": "Dose"}]}, {"features[0].name": "write lower-case letters"}),
        ({"features": []}, {"features": "write at least 1 element; it has 0"}),
    ],
)
def test_a_fault_of_the_parameters_says_what_to_write(
    parameters: dict[str, Any], faults: dict[str, str]
) -> None:
    """A list is not called too short because its elements are wrong."""
    with pytest.raises(BundleRefused) as caught:
        load_pipeline(manifest(**parameters))
    found = said(caught.value)
    assert found.keys() == {f"parameters.{key}" for key in faults}
    assert all(words in found[f"parameters.{key}"] for key, words in faults.items())


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ("3", "the whole table", "write keys with values: a table in TOML, an object in JSON"),
        ('{"cases": {}}', "cases", "write a list, in [ ]"),
        ('{"cases": [3]}', "cases[0]", "write keys with values"),
        ('{"cases": [{"input": 1, "expected": []}]}', "cases[0].expected", "write keys with values"),
        ('{"cases": [{"input": 1, "expected": {}, "tolerance": 2}]}', "cases[0].tolerance", "at most 0.1"),
    ],
)
def test_a_fault_of_golden_cases_says_what_to_write(text: str, key: str, words: str) -> None:
    with pytest.raises(BundleRefused) as caught:
        parse_golden(text)
    assert words in said(caught.value)[key]


def tables(of: type[ManifestTable] = ManifestTable) -> Iterator[type[ManifestTable]]:
    for table in of.__subclasses__():
        yield table
        yield from tables(table)


def patterns(schema: Any) -> Iterator[str]:
    """Every pattern in a JSON Schema."""
    if isinstance(schema, dict):
        if isinstance(schema.get("pattern"), str):
            yield schema["pattern"]
        for each in schema.values():
            yield from patterns(each)
    elif isinstance(schema, list):
        for each in schema:
            yield from patterns(each)


def test_every_pattern_of_a_table_is_said_in_words() -> None:
    for module in pkgutil.iter_modules(pipelines.__path__, "models.pipelines."):
        importlib.import_module(module.name)
    own = [table for table in tables() if table.__module__.startswith("models.")]
    assert {pattern for table in own for pattern in patterns(table.model_json_schema())} <= FORMS.keys()
