"""Places beside recommendations: which service they are for, what is said of them, and what is refused."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from models.manifest import BundleRefused, ManifestInvalid, ModelManifest
from models.pipelines import Case, InputRejected, load_pipeline
from models.pipelines.recommendation import Recommendation
from tests.unit.models.example_bundles import manifest_table
from tests.unit.models.example_recommender import IDS, PARAMETERS, linear
from tests.unit.models.example_recommender import read as read_files

SERVICES = "service,display,kind\n" + "".join(
    [f"{name},{name.title()},hospital\n" for name in IDS]
    + [f"{kind},{kind.title()},{kind}\n" for kind in ("hospital", "doctor", "pharmacy")]
)
FILE = """\
id,name,latitude,longitude,kind,services,emergency,opening_hours,address,phone
royal,Royal Hospital,53.4100,-2.9780,hospital,,yes,,"Prescot Street, Liverpool",0151
day,Day Hospital,53.4110,-2.9779,hospital,aspirin,no,Mo-Fr 08:00-18:00,,
bridge,Bridge Hospital,53.4300,-2.9779,hospital,insulin; metoprolol,,Mo-Sa 08:00-20:00,,
odd,Odd Hospital,53.4500,-2.9779,hospital,,,on request,,
lodge,The Lodge,53.4109,-2.9779,,,,,,
corner,Corner Pharmacy,53.4200,-2.9779,pharmacy,,,24/7,,
"""
PLACES = {"time_zone": "Europe/London", "emergency": "Call 999 first.", "source": "OpenStreetMap, ODbL 1.0"}
HERE: dict[str, Any] = {"latitude": 53.4108, "longitude": -2.9779}
TUESDAY = "2026-12-01T10:30:00Z"


def read(path: str) -> bytes:
    return SERVICES.encode() if path == "services.csv" else read_files(path)


def placed(read: Any = read, **places: Any) -> Recommendation:
    parameters = {**PARAMETERS, "places": {**PLACES, **places}}
    table = manifest_table("recommendation") | {"parameters": parameters}
    made = load_pipeline(ModelManifest.model_validate(table), read)
    assert isinstance(made, Recommendation)
    return made


PIPELINE = placed()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "places.csv").write_text(FILE)
    return tmp_path


def answer(folder: Path, options: Mapping[str, Any] | None = None, **fields: Any) -> Any:
    case = Case(PIPELINE.encode(fields), PIPELINE.check_options(options or {}))
    [found] = PIPELINE.open(folder).score(linear, [case])
    jsonschema.validate(found.result, PIPELINE.result_schema())
    return found.result


def faults(value: object) -> list[tuple[str, str]]:
    with pytest.raises(InputRejected) as refused:
        PIPELINE.encode(value)
    assert all(fault.detail for fault in refused.value.faults)
    return [(fault.pointer, str(fault.code)) for fault in refused.value.faults]


def ids(result: Any) -> list[str]:
    return [place["id"] for place in result["places"]]


def texts(result: Any, place: str) -> list[str]:
    [found] = [each for each in result["places"] if each["id"] == place]
    return [reason["text"] for reason in found["reasons"]]


def unknown(result: Any, place: str) -> list[str]:
    [found] = [each for each in result["places"] if each["id"] == place]
    return list(found["unknown"])


def test_places_are_named_for_the_first_recommended_service(folder: Path) -> None:
    found = answer(folder, history=["furosemide"], diagnoses=["E10"], at=TUESDAY, **HERE)
    assert found["items"][0]["id"] == "insulin"
    assert found["place_search"] == {
        "service": "insulin", "kind": "hospital", "within_km": 50.0, "none_because": None, "listed": 4, "kind_unknown": 1,
        "first": None, "source": "OpenStreetMap, ODbL 1.0",
    }  # fmt: skip
    assert ids(found) == ["royal", "bridge", "odd"]  # day is known to have aspirin alone
    assert found["places"][0] == {
        "rank": 1, "id": "royal", "name": "Royal Hospital", "kind": "hospital", "address": "Prescot Street, Liverpool",
        "phone": "0151", "latitude": 53.41, "longitude": -2.978, "distance_km": 0.089, "ranked_by_km": 2.089, "open": None,
        "reasons": [
            {"kind": "distance", "text": "89 m"}, {"kind": "emergency", "text": "has an emergency department"},
        ],
        "unknown": ["whether it has Insulin is not known", "opening hours are not known"],
    }  # fmt: skip
    assert texts(found, "bridge") == ["2.1 km", "has Insulin", "open until 20:00"]
    assert found["places"][1]["open"] is True
    assert "opening hours are not understood: on request" in unknown(found, "odd")


def test_the_service_that_is_asked_for_goes_before_the_recommended_one(folder: Path) -> None:
    found = answer(folder, history=["furosemide"], service="pharmacy", at=TUESDAY, **HERE)
    assert ids(found) == ["corner"]
    assert texts(found, "corner") == ["1.0 km", "open at all hours"]
    assert unknown(found, "corner") == []
    assert found["items"]


def only(folder: Path, **fields: Any) -> Any:
    """An answer where the nearest hospitals are for children, and for births."""
    header, *lines = FILE.splitlines()
    nearest = ["kids,Kids Hospital,53.4108,-2.9779,hospital,,,,,,children"]
    nearest += ["births,Rotunda Hospital,53.4108,-2.9780,hospital,,,,,,maternity"]
    (folder / "places.csv").write_text(
        "\n".join([header + ",only", *nearest, *(line + "," for line in lines)])
    )
    told = {"age": "age", "sex": "sex"}
    made = placed(**told)
    [found] = made.open(folder).score(linear, [Case(made.encode({**HERE, **fields}), {})])
    return found.result


@pytest.mark.parametrize(
    ("fields", "first"),
    [
        ({"age": 60.0, "sex": "male"}, ["day", "royal"]),
        ({"age": 61.0, "sex": "female"}, ["day", "royal"]),
        ({"age": 31.0, "sex": "female"}, ["births", "day"]),
        ({"sex": "male"}, ["kids", "day"]),
        ({}, ["kids", "births"]),
    ],
)
def test_a_place_that_is_for_others_alone_is_not_named(
    folder: Path, fields: dict[str, Any], first: list[str]
) -> None:
    found = only(folder, service="hospital", **fields)
    assert ids(found)[:2] == first
    warned = {
        place["id"] for place in found["places"] if "by its name it is for" in " ".join(place["unknown"])
    }
    assert warned == {"kids", "births"} & {*ids(found)}


def test_where_every_place_is_for_others_the_answer_says_so(folder: Path) -> None:
    (folder / "places.csv").write_text(
        "id,name,latitude,longitude,kind,only\nkids,Kids Hospital,53.4108,-2.9779,hospital,children\n"
    )
    made = placed(age="age")
    case = Case(made.encode({**HERE, "service": "hospital", "age": 60.0}), {})
    [found] = made.open(folder).score(linear, [case])
    assert found.result["abstain_reason"] == (
        "each hospital within 50 km that is listed is for others alone, by age or sex"
    )


def test_a_kind_of_which_none_is_near_tells_how_many_are_listed_anywhere(folder: Path) -> None:
    far = answer(folder, service="pharmacy", latitude=51.5, longitude=-0.1)
    assert far["abstain_reason"].startswith("no pharmacy within 50 km is listed, and 1 anywhere: ")
    assert far["place_search"]["listed"] == 1
    none = answer(folder, service="doctor", **HERE)
    assert none["abstain_reason"] == "the list has no doctor anywhere"
    assert none["place_search"]["listed"] == 0


def test_without_anything_of_the_patient_places_alone_are_an_answer(folder: Path) -> None:
    found = answer(folder, service="hospital", **HERE)
    assert (found["items"], found["abstained"], found["abstain_reason"]) == ([], False, None)
    assert ids(found) == ["day", "royal", "bridge", "odd"]
    assert unknown(found, "day") == ["whether it is open was not checked: send `at`"]
    assert found["places"][0]["open"] is None


def test_without_coordinates_no_place_is_named_and_it_is_said_why(folder: Path) -> None:
    found = answer(folder, history=["furosemide"])
    assert (found["places"], found["place_search"]["kind"], found["abstained"]) == ([], None, False)
    assert found["place_search"]["none_because"] == "no coordinates were sent: send latitude and longitude"


def test_what_is_closed_is_ranked_behind_and_more_so_if_it_is_urgent(folder: Path) -> None:
    evening: dict[str, Any] = {"service": "hospital", "at": "2026-12-01T18:30:00Z", **HERE}
    routine, urgent = answer(folder, **evening), answer(folder, urgency="urgent", **evening)
    assert ids(routine) == ["royal", "bridge", "day", "odd"]
    assert texts(routine, "day") == ["22 m", "closed, opens Wednesday 08:00"]
    by = {each["id"]: each["ranked_by_km"] for each in urgent["places"]}
    assert by["day"] == 20.022


def test_the_time_is_that_of_the_places(folder: Path) -> None:
    summer: dict[str, Any] = {"service": "hospital", **HERE}
    assert "open until 18:00" in texts(answer(folder, at="2026-07-07T07:30:00Z", **summer), "day")
    assert "closed, opens 08:00" in texts(answer(folder, at="2026-12-01T07:30:00Z", **summer), "day")
    assert answer(folder, at="2026-07-07T10:30:00+03:00", **summer) == answer(
        folder, at="2026-07-07T07:30:00Z", **summer
    )


def test_earlier_visits_bring_a_place_forward_and_are_said(folder: Path) -> None:
    visits = [{"place": "bridge", "date": f"2026-0{month}-02"} for month in (5, 3, 9)]
    found = answer(folder, service="hospital", at=TUESDAY, visits=visits, **HERE)
    assert ids(found)[0] == "bridge"
    assert texts(found, "bridge") == ["2.1 km", "open until 20:00", "visited 3 times, last on 2026-09-02"]
    once = answer(folder, service="hospital", at=TUESDAY, visits=visits[:1], **HERE)
    assert "visited once on 2026-05-02" in texts(once, "bridge")


def test_a_visited_place_that_is_not_listed_is_said_to_be_unknown(folder: Path) -> None:
    found = answer(
        folder, service="hospital", at=TUESDAY, visits=[{"place": "gone", "date": "2026-01-01"}], **HERE
    )
    assert found["unknown"] == [{"field": "visits", "code": "gone"}]


def test_an_emergency_asks_for_a_department_and_forgets_hours_and_visits(folder: Path) -> None:
    fields: dict[str, Any] = {
        "service": "hospital",
        "at": "2026-12-05T23:00:00Z",
        "urgency": "emergency",
        **HERE,
    }
    found = answer(folder, visits=[{"place": "odd", "date": "2026-01-01"}], **fields)  # fmt: skip
    assert ids(found) == ["royal", "bridge", "odd"]
    assert found["place_search"]["first"] == "Call 999 first."
    assert unknown(found, "odd") == ["whether it has an emergency department is not known"]
    assert [each["kind"] for each in found["places"][2]["reasons"]] == ["distance"]


def test_an_emergency_does_not_wait_for_the_recommended_service(folder: Path) -> None:
    found = answer(folder, diagnoses=["E10"], urgency="emergency", **HERE)
    assert found["items"][0]["id"] == "insulin"
    assert found["place_search"]["service"] == "hospital"
    assert unknown(found, "royal") == []
    asked = answer(folder, service="insulin", urgency="emergency", **HERE)
    assert unknown(asked, "royal") == ["whether it has Insulin is not known"]


def test_far_from_all_places_nothing_is_named_and_exchanged_coordinates_are_noticed(folder: Path) -> None:
    exchanged = answer(folder, service="hospital", latitude=-2.9779, longitude=53.4108)
    assert exchanged["places"] == []
    assert exchanged["abstained"]
    assert "exchanged" in exchanged["abstain_reason"]
    at_sea = answer(folder, service="hospital", latitude=0, longitude=0)
    assert at_sea["abstain_reason"] == at_sea["place_search"]["none_because"]
    assert (
        "no hospital within 50 km is listed, and 4 anywhere: `source` may lack nearer ones"
        in at_sea["abstain_reason"]
    )
    still = answer(folder, history=["furosemide"], latitude=0, longitude=0)
    assert still["items"]
    assert not still["abstained"]
    assert still["place_search"]["none_because"].startswith("no hospital within 50 km")


def test_a_kind_without_places_and_places_that_lack_the_service_are_said(folder: Path) -> None:
    assert (
        answer(folder, service="doctor", **HERE)["place_search"]["none_because"]
        == "the list has no doctor anywhere"
    )
    far: dict[str, Any] = {"latitude": 53.411, "longitude": -2.9779}
    (folder / "places.csv").write_text("\n".join(FILE.splitlines()[:1] + FILE.splitlines()[2:3]) + "\n")
    found = answer(folder, service="insulin", **far)
    assert (
        found["place_search"]["none_because"]
        == "each hospital within 50 km that is listed is known to lack Insulin"
    )
    urgent = answer(folder, service="hospital", urgency="emergency", **far)
    assert "lack an emergency department" in urgent["place_search"]["none_because"]


def test_where_nothing_is_recommended_no_place_is_guessed(folder: Path) -> None:
    found = answer(folder, history=["unheard of"], **HERE)
    assert found["abstained"]
    assert (found["places"], found["place_search"]["service"]) == ([], None)
    assert "send one" in found["place_search"]["none_because"]


def test_the_number_of_places_may_be_chosen(folder: Path) -> None:
    assert len(answer(folder, {"places": 2}, service="hospital", **HERE)["places"]) == 2
    none = answer(folder, {"places": 0}, history=["furosemide"], **HERE)
    assert none["place_search"]["none_because"] == "the job asked for no places"


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"latitude": 91.0, "longitude": 0.0}, [("/latitude", "out_of_range")]),
        ({"latitude": 53.4, "longitude": -181.0}, [("/longitude", "out_of_range")]),
        ({"latitude": 53.4}, [("/longitude", "missing_field")]),
        ({"service": "hospital"}, [("/latitude", "missing_field"), ("/longitude", "missing_field")]),
        ({"service": "barber", **HERE}, [("/service", "not_allowed")]),
        ({"urgency": "soon", **HERE}, [("/urgency", "not_allowed")]),
        ({"at": "tomorrow", **HERE}, [("/at", "wrong_format")]),
        ({"at": "1764585000", **HERE}, [("/at", "wrong_format")]),
        ({"at": 1764585000, **HERE}, [("/at", "wrong_type")]),
        ({"at": TUESDAY, "visits": [{"place": "royal", "date": "1764547200"}], **HERE}, [("/visits/0/date", "wrong_format")]),
        ({"at": "2026-12-01T10:30:00", **HERE}, [("/at", "wrong_format")]),
        ({"at": "1826-12-01T10:30:00Z", **HERE}, [("/at", "out_of_range")]),
        ({"at": TUESDAY, "visits": [{"place": "royal", "date": "2026-12-02"}], **HERE}, [("/visits/0/date", "out_of_range")]),
        ({"at": TUESDAY, "visits": [{"place": "royal", "date": "2026-02-30"}], **HERE}, [("/visits/0/date", "wrong_format")]),
        ({"at": TUESDAY, "visits": [{"place": "royal", "date": "2026-02-03"}] * 2, **HERE}, [("/visits/1", "doubled")]),
        ({"at": TUESDAY, "visits": [{"place": "royal", "date": "2026-02-03"}] * 10_000, **HERE}, [("/visits", "too_long")]),
        ({"visits": [{"place": "royal", "date": "2026-02-03"}], **HERE}, [("/at", "missing_field")]),
        ({"at": TUESDAY, "visits": [{"place": "royal", "date": "2026-02-03"}]},
         [("/latitude", "missing_field"), ("/longitude", "missing_field")]),
        ({"history": ["furosemide"] * 10_000}, [("/history", "too_long")]),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_with_what_to_change(
    fields: dict[str, Any], wrong: list[tuple[str, str]]
) -> None:
    assert faults({"history": ["furosemide"], **fields}) == wrong


def test_an_input_without_items_codes_and_service_is_refused() -> None:
    with pytest.raises(InputRejected, match="history: too_short") as refused:
        PIPELINE.encode({"history": [], **HERE})
    assert (
        refused.value.faults[0].detail
        == "Send at least one item of history, or a code of diagnoses, or a service."
    )


def test_a_stored_input_is_read_back(folder: Path) -> None:
    fields = {
        "service": "hospital", "at": TUESDAY, "visits": [{"place": "royal", "date": "2026-02-03"}], **HERE,
    }  # fmt: skip
    decoded = PIPELINE.decode(PIPELINE.encode(fields))
    assert PIPELINE.encode(decoded) == PIPELINE.encode(fields)
    assert decoded["at"] == TUESDAY


def test_wrong_tables_are_refused(folder: Path) -> None:
    with pytest.raises(ManifestInvalid, match="Europe/London"):
        placed(time_zone="Liverpool")
    with pytest.raises(BundleRefused, match="lacks insulin"):
        placed(
            read=lambda path: (
                SERVICES.replace("insulin,", "other,").encode()
                if path == "services.csv"
                else read_files(path)
            )
        )
    with pytest.raises(BundleRefused, match="another line has this service"):
        placed(
            read=lambda path: (
                (SERVICES + "hospital,Hospital,hospital\n").encode()
                if path == "services.csv"
                else read_files(path)
            )
        )
    (folder / "places.csv").write_text(FILE + "royal,Royal,1,1,,,,,,\n")
    with pytest.raises(BundleRefused, match="another line has the id"):
        PIPELINE.open(folder)
    (folder / "places.csv").unlink()
    with pytest.raises(BundleRefused, match="lacks this file"):
        PIPELINE.open(folder)


@pytest.mark.parametrize("at", ["2026-12-01T10:30:00", "2026-12-01 10:30", "2026-12-01"])
def test_a_time_without_its_offset_is_refused_with_what_is_missing(at: str) -> None:
    with pytest.raises(InputRejected) as refused:
        PIPELINE.encode({"at": at, **HERE})
    assert "offset from UTC is missing" in refused.value.faults[0].detail
