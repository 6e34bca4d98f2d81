"""The drug safety rule: allergies, interactions, duplicates and limits of drugs, from tables that can be replaced.

Uses the standard library alone, so that API, workers and scripts may import it. `docs/drug-safety.md` says what is checked.
"""

from models.drug_safety.findings import Finding, Kind, Level, Patient, Reason, Review, Unchecked
from models.drug_safety.safety import FILES, REMOVING, DrugSafety
from models.drug_safety.tables import ReadFile, TableUnusable

__all__ = [
    "FILES",
    "REMOVING",
    "DrugSafety",
    "Finding",
    "Kind",
    "Level",
    "Patient",
    "ReadFile",
    "Reason",
    "Review",
    "TableUnusable",
    "Unchecked",
]
