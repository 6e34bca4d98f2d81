"""Bundled models of tables take the public files as they are published: their names, codes, separators and markers."""

import json
from typing import Any

import pytest

from models.bundle import bundled, fitted, read_bundle
from models.field_codes import FieldCode
from models.pipelines import Case, InputRejected, load_pipeline
from models.pipelines.schema_columns import result_fields
from models.sandbox import CpuRun
from service.batches.files.columns import Columns
from service.batches.files.layouts import BatchFormat
from tests.unit.service.batches.files.example_batches import scored, told

RUN = CpuRun()
HEART = (
    "age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak", "slope", "ca", "thal",
)  # fmt: skip
FAILURE = b"""\
age   , anaemia, creatinine_phosphokinase, diabetes, ejection_fraction, high_blood_pressure, platelets, serum_creatinine, \
serum_sodium, sex, smoking, time, DEATH_EVENT
62    ,       0,                      300,        1,                35,                   0, 250000.5 ,             1.2 , \
         136,   1,       0,   90,           0
"""
PUBLIC: dict[str, tuple[bytes, dict[str, Any], tuple[str, ...]]] = {
    "heart-disease-cleveland": (
        ("\t".join((*HEART, "target")) + "\n51\t0\t3\t125\t230\t0\t2\t160\t0\t0.4\t1\t?\t?\t0\n").encode(),
        {
            "age": 51, "sex": "female", "cp": "non-anginal pain", "trestbps": 125, "chol": 230, "fbs": False,
            "restecg": "left ventricular hypertrophy", "thalach": 160, "exang": False, "oldpeak": 0.4, "slope": "upsloping",
            "ca": None, "thal": None,
        },
        ("target",),
    ),
    "heart-failure-mortality": (
        FAILURE,
        {
            "age": 62, "anaemia": False, "creatinine_phosphokinase": 300, "diabetes": True, "ejection_fraction": 35,
            "high_blood_pressure": False, "platelets": 250000.5, "serum_creatinine": 1.2, "serum_sodium": 136, "sex": "male",
            "smoking": False,
        },
        ("time", "DEATH_EVENT"),
    ),
    "diabetes-progression": (
        b"age,sex,bmi,bp,s1,s2,s3,s4,s5,s6,target\n60.0,2.0,31.5,99.0,160.0,95.2,38.0,4.0,4.9,90.0,151.0\n",
        {"age": 60, "sex": 2, "bmi": 31.5, "bp": 99, "s1": 160, "s2": 95.2, "s3": 38, "s4": 4, "s5": 4.9, "s6": 90},
        ("target",),
    ),
}  # fmt: skip


class BundledGraph:
    """The graph of a bundled model."""

    def __init__(self, name: str) -> None:
        [self.folder] = [folder for folder in bundled() if folder.name == name]
        manifest = read_bundle(self.folder).manifest
        self.pipeline = load_pipeline(manifest)
        self._run = fitted(self.folder, manifest, self.pipeline, RUN)

    def run(self, feeds: Any, graph: str = "model") -> Any:
        return self._run(feeds, graph)

    def alone(self, case: dict[str, Any]) -> dict[str, Any]:
        """The result of a job, as a row of a batch has it."""
        [answer] = self.pipeline.open(self.folder).score(self.run, [Case(self.pipeline.encode(case))])
        return {
            field.name: field.value_in(answer.result)
            for field in result_fields(self.pipeline.result_schema())
        }


def as_lines_have(row: dict[str, Any]) -> dict[str, Any]:
    """A row with its list as the JSON that a result has: pytest.approx compares none."""
    missing = row.get("missing")
    return row | (
        {"missing": json.dumps(missing, separators=(",", ":"))} if isinstance(missing, list) else {}
    )


def of_file(
    graph: BundledGraph, content: bytes, **options: Any
) -> tuple[list[dict[str, Any]], Columns | None]:
    """The results of a batch of these bytes without its rows' numbers, and what it found of the columns."""
    run = scored(content, BatchFormat.CSV, model=graph.pipeline, graph=graph, **options)  # type: ignore[arg-type]  # runs alike
    assert told(run) == []
    lines = [as_lines_have(line) for line in run.lines()]
    return [
        {name: value for name, value in line.items() if name != "row"} for line in lines
    ], run.plan.columns


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_file_is_scored_as_it_is(name: str) -> None:
    content, case, ignored = PUBLIC[name]
    graph = BundledGraph(name)
    [line], columns = of_file(graph, content)
    assert line == pytest.approx(as_lines_have(graph.alone(case)), abs=1e-5)
    assert columns == Columns(tuple(case), ignored, ())
    assert line["abstained"] is False


@pytest.mark.parametrize("name", PUBLIC)
def test_the_same_file_as_a_spreadsheet_writes_it_gives_the_same(name: str) -> None:
    content, case, _ = PUBLIC[name]
    graph = BundledGraph(name)
    names, cells = (
        list(case),
        ["" if value is None else str(value).replace(".", ",") for value in case.values()],
    )
    table = f"{';'.join(names)}\r\n{';'.join(cells)}\r\n".encode("utf-8-sig")
    [line], _ = of_file(graph, table, decimal=",")
    [same], _ = of_file(graph, content)
    assert line == pytest.approx(same, abs=1e-5)
    assert (name == "heart-disease-cleveland") == ("missing" in line)


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("heart-disease-cleveland", "age", 612),  # months
        ("heart-disease-cleveland", "trestbps", 16.7),  # kPa
        ("heart-disease-cleveland", "chol", 5.95),  # mmol/L
        ("heart-disease-cleveland", "thalach", 2.7),  # Hz
        ("heart-failure-mortality", "ejection_fraction", 0.35),  # as a share
        ("heart-failure-mortality", "serum_creatinine", 106),  # umol/L
        ("heart-failure-mortality", "platelets", 250),  # thousands
        ("diabetes-progression", "bp", 13.2),  # kPa
        ("diabetes-progression", "s1", 4.1),  # mmol/L
        ("diabetes-progression", "s3", 0.98),  # mmol/L
        ("diabetes-progression", "s5", 134),  # without the logarithm
        ("diabetes-progression", "s6", 5.0),  # mmol/L
        ("diabetes-progression", "bmi", 0.0617),  # as load_diabetes scales it
    ],
)
def test_another_unit_is_refused_by_its_range(name: str, field: str, value: float) -> None:
    _, case, _ = PUBLIC[name]
    pipeline = BundledGraph(name).pipeline
    pipeline.encode(case)
    with pytest.raises(InputRejected) as caught:
        pipeline.encode({**case, field: value})
    assert [(fault.pointer, fault.code) for fault in caught.value.faults] == [
        (f"/{field}", FieldCode.OUT_OF_RANGE)
    ]
