"""What was done in each stay of the data, and gives no drug: interventions, by one name each under whatever heading.

A treatment is written as a path, such as "pulmonary|ventilation and oxygenation|mechanical ventilation|assist controlled".
Those that give a drug, a fluid or a contrast medium are no interventions here: drugs are a section of their own, with a rule
that reviews them. Consultations are none either: they are services. Physical restraints are left out, because no list of what
is usual should propose them.
"""

import csv
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from models.training.stays import rows

# Headings below which everything is an intervention; read by hand, path by path.
HEADINGS = (
    "burns/trauma|trauma|CT scan",
    "cardiovascular|cardiac surgery",
    "cardiovascular|intravenous fluid|blood product administration",
    "cardiovascular|non-operative procedures",
    "cardiovascular|vascular disorders|VTE prophylaxis|compression boots",
    "cardiovascular|vascular disorders|VTE prophylaxis|compression stockings",
    "cardiovascular|vascular disorders|non-invasive testing for DVT",
    "cardiovascular|vascular surgery",
    "gastrointestinal|endoscopy/gastric instrumentation",
    "gastrointestinal|exploratory surgery",
    "gastrointestinal|intravenous fluid administration|blood product administration",
    "gastrointestinal|nutrition|enteral feeds",
    "gastrointestinal|nutrition|feeding tube",
    "gastrointestinal|radiology, diagnostic and procedures",
    "general|quality measures|smoking cessation counseling",
    "hematology|coagulation and platelets|blood product administration",
    "hematology|red blood cell disorders|blood product administration",
    "infectious diseases|cultures / immuno-assays",
    "infectious diseases|procedures",
    "neurologic|neuromyopathy therapy|monitor vital capacities for deterioration",
    "neurologic|procedures / diagnostics",
    "neurologic|therapy for controlling cerebral perfusion pressure|hypothermia",
    "pulmonary|radiologic procedures / bronchoscopy",
    "pulmonary|surgery / incision and drainage of thorax",
    "pulmonary|vascular disorders|VTE prophylaxis|compression boots",
    "pulmonary|vascular disorders|VTE prophylaxis|compression stockings",
    "pulmonary|ventilation and oxygenation",
    "renal|dialysis",
    "renal|procedures/radiology",
    "renal|urinary catheters",
    "surgery|exploratory surgery",
    "surgery|pulmonary therapies|CPAP/PEEP therapy",
    "surgery|pulmonary therapies|mechanical ventilation",
    "surgery|pulmonary therapies|ventilator weaning",
    "surgery|tubes and catheters",
    "surgery|wounds / temperature|wound care",
    "toxicology|drug overdose|drug levels",
)
CONTRAST = ("with contrast", "with IV contrast", "with oral contrast")
CHEST = "pulmonary|radiologic procedures / bronchoscopy|"  # its images are of the chest, and their names do not say so
LEVELS = 3  # of headings that are always dropped, but the last


def is_intervention(path: str) -> bool:
    """Whether a treatment of the data is an intervention."""
    below = any(path == heading or path.startswith(f"{heading}|") for heading in HEADINGS)
    return below and path.rpartition("|")[2] not in CONTRAST


def intervention_of(path: str) -> str:
    """The one name of an intervention, such as "mechanical ventilation: assist controlled"."""
    parts = path.split("|")[LEVELS - 1 :]
    if parts[0] == "VTE prophylaxis":
        parts = parts[1:]
    if path.startswith(CHEST) and parts[0] == "CT scan":
        parts[0] = "CT scan: chest"
    return ": ".join(parts)


def interventions(folder: Path) -> dict[str, frozenset[str]]:
    """The interventions of each stay."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows(folder, "treatments"):
        if is_intervention(path := row["treatmentstring"]):
            found[row["patientunitstayid"]].add(intervention_of(path))
    return {stay: frozenset(names) for stay, names in found.items()}


def headings(folder: Path) -> dict[str, frozenset[str]]:
    """The treatments of each stay on their first three levels, drugs and consultations too: what others measure with."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows(folder, "treatments"):
        found[row["patientunitstayid"]].add("|".join(row["treatmentstring"].split("|")[:LEVELS]))
    return {stay: frozenset(names) for stay, names in found.items()}


def write_interventions(path: Path, folder: Path, items: Sequence[str]) -> None:
    """Write the catalogue of interventions; the paths of the data are further names of each."""
    paths: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows(folder, "treatments"):
        if is_intervention(row["treatmentstring"]):
            paths[intervention_of(row["treatmentstring"])].add(row["treatmentstring"])
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("id", "display", "also"))
        for item in items:
            names = sorted(each for each in paths[item] if ";" not in each)
            writer.writerow((item, item[0].upper() + item[1:], "; ".join(names)))
