"""Reviews of drugs for a patient with recorded allergies, as tests of these ask for them."""

from models.drug_safety import Finding, Kind, Patient, Reason, Review
from tests.unit.models.drug_tables import bundled


def review(allergy: str, *proposed: str) -> Review:
    return bundled().review(Patient(allergies=(allergy,)), [], list(proposed))


def against(allergy: str, drug: str) -> Finding | None:
    found = review(allergy, drug)
    kinds = {Kind.ALLERGY, Kind.ALLERGY_CLASS}
    return next((each for each in found.removed + found.flagged if each.kind in kinds), None)


TOLD = (Reason.ALLERGY_NOT_UNDERSTOOD, Reason.ALLERGY_DOUBTED, Reason.ALLERGY_DENIED)


def told(*recorded: str) -> list[tuple[str, Reason]]:
    found = bundled().review(Patient(allergies=recorded), [], ["heparin"]).unchecked
    return [(each.subject, each.reason) for each in found if each.reason in TOLD]
