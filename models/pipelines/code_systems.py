"""Codes that name their system, as FHIR writes tokens: the URI of the system, a bar, the code."""

from __future__ import annotations

from typing import Final

# ICD-10, ICD-10-CM, ICD-9-CM and SNOMED CT by the URIs of HL7 (terminology.hl7.org, "Using code systems").
SYSTEMS: Final = (
    "http://hl7.org/fhir/sid/icd-10",
    "http://hl7.org/fhir/sid/icd-10-cm",
    "http://hl7.org/fhir/sid/icd-9-cm",
    "http://snomed.info/sct",
)


def without_system(code: str) -> str:
    """The code alone, if one of SYSTEMS stands before it; any other text as it is."""
    system, bar, bare = code.strip().partition("|")
    return bare.strip() if bar and system in SYSTEMS else code
