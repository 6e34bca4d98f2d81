"""care-service-recommender: whom it knows, what its places are, and that its figures and notices are those of the card."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from models.bundle import fitted, read_bundle, side_files
from models.pipelines import Case, InputRejected, load_pipeline
from models.pipelines.recommendation import Recommendation
from models.sandbox import CpuRun

FOLDER = Path(__file__).parents[3] / "models" / "zoo" / "care-service-recommender"
BUNDLE = read_bundle(FOLDER)
PIPELINE = load_pipeline(BUNDLE.manifest, side_files(FOLDER))
assert isinstance(PIPELINE, Recommendation)
SCORING = PIPELINE.open(FOLDER)
RUN = fitted(FOLDER, BUNDLE.manifest, PIPELINE, CpuRun())
LIVERPOOL: dict[str, Any] = {"latitude": 53.4108, "longitude": -2.9779}
METRICS = json.loads((FOLDER / "metrics.json").read_text())


def answer(options: dict[str, Any] | None = None, **fields: Any) -> Any:
    [found] = SCORING.score(RUN, [Case(PIPELINE.encode(fields), options or {})])
    return found.result


def lines(name: str) -> list[dict[str, str]]:
    with (FOLDER / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_names_of_the_data_mean_the_services() -> None:
    named = answer(history=["Pulmonary/CCM consultation", "surgery-neuro"])
    assert named == answer(history=["critical care", "neurosurgery"])
    assert named["unknown"] == []


def test_kidneys_that_fail_bring_the_nephrologist_forward() -> None:
    found = answer(diagnoses=["584.9", "N17.9"], age=64.0)
    [nephrology] = [item for item in found["items"] if item["id"] == "nephrology"]
    assert nephrology["score"] > nephrology["usual"]
    assert nephrology["reasons"][0]["field"] == "diagnoses"
    assert nephrology["rank"] <= 5


def test_in_an_emergency_the_nearest_known_emergency_department_comes_first() -> None:
    found = answer(diagnoses=["434.91"], urgency="emergency", **LIVERPOOL)
    assert found["place_search"]["first"].startswith("Call 999 or 112")
    assert found["places"][0]["name"] == "Royal Liverpool University Hospital"
    known = [not place["unknown"] for place in found["places"]]
    assert known == sorted(known, reverse=True)
    assert known.count(True) == 3


def test_what_the_places_lack_is_said_of_each() -> None:
    found = answer({"places": 20}, diagnoses=["584.9"], at="2026-12-01T10:30:00Z", **LIVERPOOL)
    assert len(found["places"]) == 20
    for place in found["places"]:
        assert "opening hours are not known" in place["unknown"]
        assert place["open"] is None
        assert any(each.startswith("whether it has ") for each in place["unknown"])


def test_exchanged_coordinates_name_no_place() -> None:
    found = answer(service="hospital", latitude=-2.9779, longitude=53.4108)
    assert found["places"] == []
    assert "exchanged" in found["abstain_reason"]


def test_a_man_of_sixty_is_sent_to_no_hospital_for_births_or_children() -> None:
    dublin = {"latitude": 53.3498, "longitude": -6.2603}
    sent: dict[str, Any] = {"diagnoses": ["I21.4"], "age": 60.0, **dublin}
    man = answer({"places": 20}, sex="male", **sent)
    names = [place["name"] for place in man["places"]]
    assert len(names) == 20
    assert not [
        name for name in names if any(word in name for word in ("Child", "Rotunda", "Coombe", "Matern"))
    ]
    unknown = answer({"places": 20}, **{key: value for key, value in sent.items() if key != "age"})
    warned = [place["name"] for place in unknown["places"] if "by its name" in " ".join(place["unknown"])]
    assert {"Rotunda Hospital", "Temple Street Childrens University Hospital"} <= {*warned}


def test_a_kind_of_which_the_list_has_next_to_none_is_not_promised() -> None:
    found = answer(service="pharmacy", **LIVERPOOL)
    assert "no pharmacy within 50 km is listed, and 1 anywhere" in found["abstain_reason"]
    described = PIPELINE.input_schema()["properties"]["service"]["description"]  # type: ignore[index]  # a schema
    assert "only 31 hospices, 7 dentists and 1 pharmacy" in described
    assert "pharmac" not in BUNDLE.manifest.summary


def test_an_unknown_service_is_refused() -> None:
    with pytest.raises(InputRejected) as refused:
        PIPELINE.encode({"service": "acupuncture", **LIVERPOOL})
    assert [(fault.pointer, str(fault.code)) for fault in refused.value.faults] == [
        ("/service", "not_allowed")
    ]


def test_the_places_are_counted_as_in_the_card_and_none_is_gone() -> None:
    places = lines("places.csv")
    kinds = [place["kind"] or "unknown" for place in places]
    told = {kind: METRICS["places"][kind] for kind in {*kinds}}
    assert {kind: kinds.count(kind) for kind in told} == told
    assert len(places) == METRICS["places"]["all"] > 4000
    assert not [place["name"] for place in places if "abandoned" in place["name"].lower()]
    assert {line["kind"] for line in lines("services.csv")} <= {*kinds}


def test_the_notices_of_both_licences_are_in_the_bundle_and_no_row_of_a_patient() -> None:
    notice = (FOLDER / "NOTICE.txt").read_text()
    assert "Open Database" in notice
    assert "OpenStreetMap contributors" in notice
    assert {"NOTICE.txt", "places.csv", "services.csv"} <= BUNDLE.manifest.files.keys()
    assert "OpenStreetMap contributors" in answer(service="hospital", **LIVERPOOL)["place_search"]["source"]
    for name in ("catalogue.csv", "diagnoses.csv", "past_history.csv"):
        assert not {"patientunitstayid", "uniquepid", "hospitalid"} & {*lines(name)[0]}


def test_it_ranks_better_than_all_baselines() -> None:
    chosen = METRICS["with_context_at_10"]["recall"]
    assert chosen >= 0.79
    for baseline in ("popularity", "item_knn", "ease"):
        assert METRICS["with_context_at_10"]["recall_95"][0] > METRICS[f"{baseline}_at_10"]["recall"]
