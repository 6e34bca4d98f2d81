"""Results of every kind as a reader sees them: tables with units, cut where they are long, and in a few words."""

import json
from pathlib import Path
from typing import Any

import pytest

from service.cli import job_tables, results
from service.cli.output import Output

ZOO = Path(__file__).parents[3] / "models" / "zoo"


def golden(model: str, kind: str) -> dict[str, Any]:
    """The answer to the first golden case of a bundled model, with its type."""
    cases = json.loads((ZOO / model / "golden.json").read_text())["cases"]
    return {"type": kind, **cases[0]["expected"]}


def shown(capsys: pytest.CaptureFixture[str], found: dict[str, Any]) -> str:
    for part in results.result(found):
        Output(as_json=False).print(part)
    return capsys.readouterr().out


def lines(capsys: pytest.CaptureFixture[str], found: dict[str, Any], heading: str) -> list[list[str]]:
    """The rows below a heading, cell by cell."""
    after = shown(capsys, found).split(f"\n{heading}\n")[1].split("\n\n")[0]
    return [line.split("  ") for line in after.splitlines() if line]


def cells(row: list[str]) -> list[str]:
    return [cell.strip() for cell in row if cell.strip()]


def singles(words: str) -> list[list[str]]:
    """The lines of names and values."""
    return [cells(line.split("  ")) for line in words.splitlines()]


def test_boxes_are_a_table_in_pixels(capsys: pytest.CaptureFixture[str]) -> None:
    found = golden("blood-cell-detection", "detections")
    words = shown(capsys, found)
    assert ["width", "480 px"] in singles(words)
    assert ["counts", "rbc 12, wbc 1, platelets 0"] in singles(words)
    rows = lines(capsys, found, "detections (13)")
    assert cells(rows[0]) == ["FOUND", "LABEL", "SCORE", "LEFT px", "TOP px", "RIGHT px", "BOTTOM px"]
    assert cells(rows[1]) == ["White blood cell", "wbc", "0.970", "99.4", "30.2", "248.0", "170.8"]
    assert len(rows) == 14


def test_an_abstention_comes_before_the_numbers_that_are_then_no_answer(
    capsys: pytest.CaptureFixture[str],
) -> None:
    answered = golden("breast-cancer-wisconsin", "classification")
    found = answered | {"label": None, "display": None, "abstained": True, "abstain_reason": "unlike"}
    told = [line[0] for line in singles(shown(capsys, found)) if line]
    assert told.index("abstained") < told.index("abstain_reason") < told.index("probabilities")


def test_hits_of_a_search_have_their_link_and_say_that_passages_are_cut(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = golden("health-question-search", "search")
    words = shown(capsys, found)
    assert all(hit["url"] in words for hit in found["hits"])
    assert "texts are cut at 80 characters: --json has the whole ones" in words


def test_instances_of_a_mask_are_a_table_without_their_runs(capsys: pytest.CaptureFixture[str]) -> None:
    found = golden("nuclei-segmentation", "image-segmentation")
    words = shown(capsys, found)
    assert "2662" not in words
    assert ["min_area", "3 px"] in singles(words)
    rows = lines(capsys, found, "instances (6)")
    assert cells(rows[1])[:3] == ["1", "nucleus", "129"]
    assert cells(rows[1])[-2:] == ["40, 23", "0.977"]
    assert cells(lines(capsys, found, "classes (1)")[1]) == ["Cell nucleus", "nucleus", "6", "870", "0.113"]


def test_tasks_of_a_molecule_are_a_table_with_units_and_intervals(capsys: pytest.CaptureFixture[str]) -> None:
    rows = lines(capsys, golden("molecule-properties", "molecule-property"), "tasks (17)")
    told = {cells(row)[0]: cells(row)[1:] for row in rows}
    solubility = golden("molecule-properties", "molecule-property")["tasks"]["solubility"]
    low, high = (solubility["interval"][end] for end in ("lower", "upper"))
    between = f"{low:.4g} to {high:.4g} (90%)"
    assert told["solubility"][:3] == [f"{solubility['value']:.6g}", "log10(mol/L)", between]
    assert told["blood_brain_barrier"][:1] == ["does not cross"]
    assert told["fda_approved"][-1].startswith("not clear enough: in the training data")
    assert told["lipophilicity"][1] == "-"
    head = cells(rows[0])
    assert head[4:6] == ["PROBABILITY OF POSITIVE CLASS", "POSITIVE FROM"]
    mass = golden("molecule-properties", "molecule-property")["molecule"]["weight"]
    assert f"monoisotopic mass (u) {mass:.6g}" in shown(
        capsys, golden("molecule-properties", "molecule-property")
    )


def test_a_number_has_the_quantity_and_the_range_that_it_lies_in(capsys: pytest.CaptureFixture[str]) -> None:
    rows = singles(shown(capsys, golden("diabetes-progression", "regression")))
    assert ["quantity", "Progression of diabetes one year after the findings"] in rows
    assert ["range", "25 to 346"] in rows


def test_a_number_without_a_unit_has_no_row_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    found = golden("diabetes-progression", "regression")
    assert found["unit"] == "1"
    assert "unit" not in [name for name, *_ in filter(None, singles(shown(capsys, found)))]
    assert ["unit", "mm"] in singles(shown(capsys, {**found, "unit": "mm"}))


def test_many_beats_are_cut_and_say_how_many_more(capsys: pytest.CaptureFixture[str]) -> None:
    found = golden("ecg-beats", "beats")
    words = shown(capsys, found)
    assert ["heart_rate", "74.8848 /min"] in singles(words)
    rows = lines(capsys, found, "beats (14)")
    assert cells(rows[0]) == ["TIME s", "SAMPLE", "LABEL", "PROBABILITY"]  # none was abstained from
    assert cells(rows[1]) == ["1.304", "163", "n", "0.997"]
    many = found | {"beats": found["beats"] * 3}
    assert "and 22 more: --json has all\n" in shown(capsys, many)


def test_passages_and_entities_are_a_row_each(capsys: pytest.CaptureFixture[str]) -> None:
    rows = lines(capsys, golden("health-question-search", "search"), "hits (10)")
    link = "http://nihseniorhealth.gov/parkinsonsdisease/toc.html"
    assert cells(rows[1])[:4] == ["1", "NIHSeniorHealth_0000052-3", "Parkinson's Disease", link]
    assert cells(rows[1])[4:6] == ["0.704", "0.584"]
    assert cells(rows[1])[6].endswith("...")
    rows = lines(capsys, golden("chemical-disease-entities", "entities"), "entities (2)")
    assert cells(rows[2]) == ["cisplatin", "Chemical or drug", "chemical", "105590001", "0.982", "59", "68"]


def test_probabilities_are_sorted(capsys: pytest.CaptureFixture[str]) -> None:
    found = {"type": "classification", "probabilities": {"well": 0.2, "ill": 0.7, "unclear": 0.1}}
    assert "probabilities  ill 0.700, well 0.200, unclear 0.100" in shown(capsys, found)


def test_a_kind_of_somebodys_own_gets_a_column_for_each_key(capsys: pytest.CaptureFixture[str]) -> None:
    found: dict[str, Any] = {
        "type": "entities",  # as ours is called, but it is another
        "entities": [{"word": "a", "weight": 0.5}, {"word": "b" * 100, "note": {"x": 1}}],
        "by_site": {"arm": {"dose": 1}, "leg": {"dose": 2}},
    }
    rows = lines(capsys, found, "entities (2)")
    assert [cells(row) for row in rows[:3]] == [
        ["WORD", "WEIGHT", "NOTE"],
        ["a", "0.5", "-"],
        ["b" * 77 + "...", "-", "x 1"],
    ]
    assert cells(lines(capsys, found, "by_site (2)")[2]) == ["leg", "2"]
    known = {"display": "d", "label": "l", "score": "high", "box": {"left": "?"}}
    rows = lines(capsys, {"type": "detections", "detections": [known]}, "detections (1)")
    assert cells(rows[1]) == ["d", "l", "high", "?"]


@pytest.mark.parametrize(
    ("model", "kind", "words"),
    [
        ("blood-cell-detection", "detections", "12 rbc, 1 wbc, 0 platelets"),
        ("nuclei-segmentation", "image-segmentation", "6 nucleus (11.3% of the image)"),
        (
            "xray-generator",
            "image-generation",
            "1 synthetic of pneumonia, seed 7: Made up by a model: it shows no patient and is no finding.",
        ),
        ("chemical-disease-entities", "entities", "acute renal failure (disease), cisplatin (chemical)"),
        ("ecg-beats", "beats", "14 n, 0 s, 0 v, 0 f, heart rate 75 /min"),
        (
            "diabetes-progression",
            "regression",
            "Progression of diabetes one year after the findings: 105.354, 25 to 194.7 (90%)",
        ),
    ],
)
def test_a_nested_answer_in_a_few_words(model: str, kind: str, words: str) -> None:
    assert job_tables.answer({"result": golden(model, kind)}) == words


def test_tasks_and_passages_in_a_few_words() -> None:
    tasks = golden("molecule-properties", "molecule-property")["tasks"]
    assert job_tables.answer({"result": golden("molecule-properties", "molecule-property")}) == (
        f"solubility {tasks['solubility']['value']:.6g} log10(mol/L), "
        f"lipophilicity {tasks['lipophilicity']['value']:.6g}, blood_brain_barrier does not cross, "
        "fda_approved abstained, clinical_toxicity abstained, tox21_nr_ar inactive and 11 more"
    )
    told = job_tables.answer({"result": golden("health-question-search", "search")})
    assert told.startswith("Parkinson's Disease (0.704), Parkinson disease (0.698)")
    assert job_tables.answer({"result": {"type": "entities", "entities": []}}) == "nothing"
    assert job_tables.answer({"result": {"type": "entities", "spans": 3}}) == "spans 3"


def advised(note: str) -> dict[str, Any]:
    """The answer to a golden case of the bundled catalogue of advice."""
    cases = json.loads((ZOO / "health-advice-recommender" / "golden.json").read_text())["cases"]
    [found] = [case["expected"] for case in cases if case["note"].startswith(note)]
    return {"type": "advice", **found}


def test_advice_is_a_table_whose_sentences_are_never_cut(capsys: pytest.CaptureFixture[str]) -> None:
    found = advised("with kidney disease")
    words = " ".join(shown(capsys, found).split())
    assert len(found["items"]) > 3
    assert max(len(item["text"]) for item in found["items"]) > results.MOST_CHARACTERS
    assert all(item["text"] in words and item["url"] in words for item in found["items"])
    assert all(each["reason"] in words for each in found["withheld"])
    assert "High blood pressure I10, Systolic blood pressure 144 mm[Hg]" in words


def placed(note: str) -> dict[str, Any]:
    """The answer to a golden case of the bundled recommender of services."""
    cases = json.loads((ZOO / "care-service-recommender" / "golden.json").read_text())["cases"]
    [found] = [case["expected"] for case in cases if case["note"].startswith(note)]
    return dict(found)


def test_places_are_a_table_with_reasons_and_what_is_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    found = placed("a doctor in Dublin")
    words = shown(capsys, found)
    first, *_ = found["places"]
    assert "DISTANCE km" in words
    assert first["name"] in words
    assert first["reasons"][0]["text"] in words
    assert "opening hours are not known" in " ".join(words.split())


def test_an_emergency_in_a_few_words_begins_with_what_to_do_first() -> None:
    words = job_tables.answer({"result": placed("a stroke in Liverpool")})
    assert words.startswith(
        "Call 999 or 112 first, in the United Kingdom and in Ireland; places: Royal Liverpool"
    )
    assert "; 1. Internal medicine (because of " in words
    assert "no place: no hospital within 50 km" in job_tables.answer(
        {"result": placed("latitude and longitude") | {"abstained": False}}
    )


def test_advice_in_a_few_words_begins_with_when_to_see_a_doctor() -> None:
    words = job_tables.answer({"result": advised("chest pain")})
    assert words.startswith("see a doctor (emergency): Chest pain now may come from the heart")
    assert "1. Eat vegetables" in words
    assert "(2 withheld, " in words
    nothing = advised("chest pain") | {"items": [], "withheld": [], "undetermined": []}
    assert job_tables.answer({"result": nothing}).endswith("no advice")


def taking() -> dict[str, Any]:
    """The answer to the golden case of a patient who takes what speaks against the patient."""
    cases = json.loads((ZOO / "medication-recommender" / "golden.json").read_text())["cases"]
    [found] = [case["expected"] for case in cases if case["note"].startswith("what the patient takes")]
    return dict(found)


def test_what_is_said_of_drugs_that_are_taken_is_a_table_and_the_serious_of_it_in_the_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = taking()
    rows = lines(capsys, found, f"flagged_present ({len(found['flagged_present'])})")
    metformin = [
        "Metformin 500 mg tablet",
        "contraindicated",
        "estimated glomerular filtration rate 24 ml/min",
    ]
    assert cells(rows[1])[:3] == metformin
    told = results.answer(found)
    assert told is not None
    assert f"taken, to be reviewed: {metformin[0]} (contraindicated: {metformin[2]}), amoxicillin" in told
    assert "take into account" not in told


def test_what_was_not_checked_is_told_with_its_whole_detail(capsys: pytest.CaptureFixture[str]) -> None:
    contradicted = {
        "subject": "Z99.2",
        "check": "renal",
        "reason": "contradicted",
        "detail": "egfr is 80 mL/min/1.73 m2, which does not go with this code of kidney failure: correct one of them",
    }
    advice = advised("with kidney disease") | {"unchecked": [contradicted]}
    for found in (taking(), advice):
        words = " ".join(shown(capsys, found).split())
        assert "OF CHECK WHY DETAIL" in words
        assert [each["detail"] for each in found["unchecked"] if each["detail"] not in words] == []
    assert "1 unchecked)" in str(results.answer(advice))


def test_jobs_of_one_model_that_disagree_are_told_in_the_line_and_the_table_of_a_plan(
    capsys: pytest.CaptureFixture[str],
) -> None:
    doubt = {
        "subject": "diagnosis, diagnosis_2",
        "check": None,
        "reason": "contradicted",
        "detail": "they disagree",
    }
    found = golden("treatment-plan-recommender", "treatment_plan") | {"unchecked": [doubt]}
    told = results.answer(found)
    assert told is not None
    assert told.startswith(
        "after Pneumonia, unspecified. diagnosis, diagnosis_2: they disagree. interventions: "
    )
    assert "they disagree" in lines(capsys, found, "unchecked (1)")[1]


def test_a_plan_is_a_table_of_diagnoses_and_the_tables_of_each_section(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = golden("treatment-plan-recommender", "treatment_plan")
    words = shown(capsys, found)
    headings = [
        line for line in words.splitlines() if line in {"Interventions", "Drugs", "Services", "Advice"}
    ]
    assert headings == [
        name.capitalize() for name in ("interventions", "drugs", "services", "advice") if found[name]
    ]
    assert cells(lines(capsys, found, "diagnoses (1)")[1])[:3] == [
        "Pneumonia, unspecified",
        "pneumonia",
        "0.970",
    ]
    assert "Piperacillin / tazobactam" in words.split("\nDrugs\n")[1].split("\nremoved (")[1]
    told = results.answer(found)
    assert told is not None
    assert told.startswith("after Pneumonia, unspecified. interventions: 1. ")
    assert "removed: Piperacillin / tazobactam (contraindicated: penicillin)" in told
    assert "taken, to be reviewed" not in told
    unknown = {
        **found,
        "drugs": None,
        "interventions": None,
        "services": None,
        "advice": None,
        "abstained": True,
    }
    assert results.answer(unknown) == "after Pneumonia, unspecified"
