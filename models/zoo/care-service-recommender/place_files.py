"""The files of care-service-recommender about places: hospitals and others of Great Britain, Northern Ireland and Ireland.

Source: OpenStreetMap (ODbL 1.0), as the Synthea project has it for its international branch: names, addresses, telephone
numbers, coordinates and, of a sixth of them, whether there is an emergency department. Opening hours and specialties are in
none. What kind of place each is was read from its name: where the name says none, or two, the kind is left unknown.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from service_names import WRITTEN

from models.places.files import COLUMNS

COUNTRIES = ("gb", "ie")
KINDS = {
    "hospital": re.compile(r"\b(hospitals?|infirmary)\b", re.IGNORECASE),
    "doctor": re.compile(
        r"\b(surgery|surgeries|doctors?|gp|practi[cs]e|group practice|medical (cent(re|er)|group)|health cent(re|er)|"
        r"primary care cent(re|er))\b",
        re.IGNORECASE,
    ),
    "pharmacy": re.compile(r"\b(pharmacy|chemist)\b", re.IGNORECASE),
    "hospice": re.compile(r"\bhospice\b", re.IGNORECASE),
    "dentist": re.compile(r"\b(dental|dentist|orthodont\w+)\b", re.IGNORECASE),
}
GONE = re.compile(
    r"\b(abandoned|former|closed|disused|derelict|car park|veterinary|vets?|animal)\b", re.IGNORECASE
)
# What the data say of emergency departments; other words, such as "maternity", say that there is one for some alone.
EMERGENCY = {"Yes": "yes", "True": "yes", "No": "no", "suspended": "no"}
# For whom alone a place is, as its name says; two in Dublin are maternity hospitals by the law that founded them.
ONLY = {
    "children": re.compile(r"\b(child|children|childrens|paediatric|pa?ediatrics)\b", re.IGNORECASE),
    "maternity": re.compile(
        r"\b(maternity|women|womens|obstetrics?|birth(ing)? (cent(re|er)|unit)|rotunda hospital|lying-in)\b",
        re.IGNORECASE,
    ),
}
GENERAL = {
    "hospital": "Hospital", "doctor": "Doctor (general practice)", "pharmacy": "Pharmacy", "hospice": "Hospice",
    "dentist": "Dentist",
}  # fmt: skip


def write_places(path: Path, folder: Path) -> dict[str, int]:
    """Write the places; how many there are, of each kind, and with an emergency department known."""
    found = [place for country in COUNTRIES for place in _places(folder, country)]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)
    kinds = Counter(place["kind"] or "unknown" for place in found)
    departments = Counter(place["emergency"] for place in found if place["kind"] == "hospital")
    return {
        "all": len(found), **{kind: kinds[kind] for kind in (*KINDS, "unknown")},
        "for_children": sum(place["only"] == "children" for place in found),
        "maternity": sum(place["only"] == "maternity" for place in found),
        "hospitals_with_department": departments["yes"], "hospitals_without_department": departments["no"],
    }  # fmt: skip


def write_services(path: Path, services: Sequence[str]) -> None:
    """Write which kind of place has each service: hospitals those of the data, which are of hospitals, and kinds themselves."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("service", "display", "kind"))
        writer.writerows((service, WRITTEN[service][0], "hospital") for service in services)
        writer.writerows((kind, display, kind) for kind, display in GENERAL.items())


def kind_of(name: str) -> str:
    """The kind of place that a name says; "" for none, and for several."""
    found = [kind for kind, words in KINDS.items() if words.search(name)]
    return found[0] if len(found) == 1 else ""


def only_for(name: str) -> str:
    """For whom alone a place is by its name, people's names such as that of Dr Child aside; "" if for everybody."""
    if kind_of(name) == "doctor":
        return ""
    return next((whom for whom, words in ONLY.items() if words.search(name)), "")


def _places(folder: Path, country: str) -> Iterator[dict[str, str]]:
    with (folder / f"{country}-hospitals.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if not GONE.search(row["name"]):
                yield _place(row, country)


def _place(row: Mapping[str, str], country: str) -> dict[str, str]:
    street = re.sub(r"\bnan\b", "", row["address"]).strip()
    parts = (street, row["city"], row["state"], row["zip"])
    return dict.fromkeys(COLUMNS, "") | {
        "id": f"{country}-{row['id']}",
        "name": row["name"].strip(),
        "latitude": row["LAT"],
        "longitude": row["LON"],
        "kind": kind_of(row["name"]),
        "emergency": EMERGENCY.get(row["emergency"], ""),
        "address": ", ".join(dict.fromkeys(filter(None, map(str.strip, parts)))),
        "phone": row["phone"].strip(),
        "only": only_for(row["name"]),
    }
