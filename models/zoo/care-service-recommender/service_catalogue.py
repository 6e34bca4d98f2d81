"""The files of care-service-recommender that name consultants and services, and who was consulted in each stay of the data."""

import csv
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from service_names import LEFT_OUT, WRITTEN

from models.training.stays import rows

ENDS = ("consult", "consultation")  # of names of treatments that are a service asked for advice
_BY_SPECIALTY = {name: service for service, (_, names, _) in WRITTEN.items() for name in names}
_BY_TREATMENT = {name: service for service, (_, _, names) in WRITTEN.items() for name in names}


def consulted(folder: Path) -> tuple[dict[str, frozenset[str]], dict[str, int]]:
    """The services consulted in each stay, and how many rows of each kind there were."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    counts = dict.fromkeys(("providers", "managing", "left_out", "consulting", "treatments"), 0)
    for row in rows(folder, "care_providers"):
        specialty, managing = row["specialty"], row["managingphysician"] == "Managing"
        kind = "managing" if managing else "left_out" if specialty in LEFT_OUT else "consulting"
        counts["providers"] += 1
        counts[kind] += 1
        if kind == "consulting":
            found[row["patientunitstayid"]].add(_BY_SPECIALTY[specialty])
    for row in rows(folder, "treatments"):
        for part in row["treatmentstring"].split("|"):
            if part.lower().endswith(ENDS):
                counts["treatments"] += 1
                found[row["patientunitstayid"]].add(_BY_TREATMENT[part])
    return {stay: frozenset(services) for stay, services in found.items()}, counts


def write_catalogue(path: Path, services: Sequence[str]) -> None:
    """Write the side file of the services, in their order, with their names in the data."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("id", "display", "also"))
        for service in services:
            display, *names = WRITTEN[service]
            own = {service.casefold(), display.casefold()}
            also = {name.casefold(): name for each in names for name in each}
            writer.writerow(
                (service, display, "; ".join(also[name] for name in sorted(also) if name not in own))
            )


def write_notice(path: Path) -> None:
    """Write the notices that the licences of the data and of the places ask for."""
    path.write_text(
        "care-service-recommender contains information from two databases that are made available under the Open Database\n"
        "License 1.0 (ODbL): https://opendatacommons.org/licenses/odbl/1-0/\n\n"
        "eICU Collaborative Research Database Demo (PhysioNet; Pollard et al., Sci Data 5:180178, 2018): the tables\n"
        "catalogue.csv, diagnoses.csv and past_history.csv and the weights of model.onnx are derived from it. They hold no\n"
        "row of a patient.\n\n"
        "OpenStreetMap, (c) OpenStreetMap contributors, https://www.openstreetmap.org/copyright: the table places.csv is\n"
        "derived from it, by way of the files of providers of Synthea International.\n\n"
        "What is derived from them is made available under the same licence.\n",
        encoding="utf-8",
    )
