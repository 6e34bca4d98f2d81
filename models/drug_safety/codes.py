"""Codes of diagnoses: the systems that a caller may name, as FHIR writes tokens, and which texts are a code of ICD."""

from __future__ import annotations

import re
from typing import Final

# ICD-10, ICD-10-CM, ICD-9-CM and SNOMED CT by the URIs of HL7 (terminology.hl7.org, "Using code systems").
_URIS: Final = (
    "http://hl7.org/fhir/sid/icd-10",
    "http://hl7.org/fhir/sid/icd-10-cm",
    "http://hl7.org/fhir/sid/icd-9-cm",
    "http://snomed.info/sct",
)
# The same by their object identifiers: ICD-10, ICD-10-CM, ICD-9-CM, its diagnoses, SNOMED CT (HL7 OID registry).
_OIDS: Final = tuple(f"2.16.840.1.113883.6.{arc}" for arc in (3, 90, 2, 103, 96))
SYSTEMS: Final = (*_URIS, *_OIDS, *(f"urn:oid:{each}" for each in _OIDS))
_NO_DOT: Final = re.compile(r"[0-9A-Z][0-9][0-9A-Z]{2,5}")
_ICD: Final = re.compile(r"[A-Z][0-9][0-9A-Z](?:\.[0-9A-Z]{1,4})?|[0-9]{3}(?:\.[0-9]{1,2})?")
_INSIDE: Final = re.compile(
    r"(?<![A-Z0-9.])(?:(?P<letter>[A-Z]) ?(?P<icd_10>[0-9][0-9A-Z](?:\.[0-9A-Z]{1,4})?)|(?P<icd_9>[0-9]{3}\.[0-9]{1,2}))"
    r"(?![A-Z0-9])"
)


def without_system(code: str) -> str:
    """The code alone, if one of SYSTEMS stands before it; any other text as it is."""
    system, bar, bare = code.strip().partition("|")
    return bare.strip() if bar and system in SYSTEMS else code


def plain(code: str) -> str:
    """A code in upper case and with its dot, behind the third character.

    A code of an accident in ICD-9-CM that lacks its dot, such as E8750, may thus be taken for a disease of ICD-10-CM: a check
    too many does less harm than one too few.
    """
    bare = without_system(code).strip().upper()
    return bare if "." in bare or not _NO_DOT.fullmatch(bare) else f"{bare[:3]}.{bare[3:]}"


def is_icd(code: str) -> bool:
    """Whether a text is one code in the form of ICD-10-CM or ICD-9-CM, which need not exist, and nothing else."""
    return _ICD.fullmatch(plain(code)) is not None


def code_inside(text: str) -> str | None:
    """The first code of ICD that stands in a text with something else, such as "ICD-10: K92.2"; None if there is none."""
    found = _INSIDE.search(text.upper())
    if found is None:
        return None
    return found["icd_9"] or f"{found['letter']}{found['icd_10']}"
