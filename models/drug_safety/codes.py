"""Codes of diagnoses: the system that a code is of, and the one spelling in which codes are compared.

A code is read by its system alone: the one that stands before it as FHIR writes tokens, SYSTEM|CODE, or else the one whose
shape it has. ICD-9-CM shares shapes with ICD-10: its V codes, V01 to V91, with accidents of transport that lack their seventh
character, and without a dot its E codes, external causes, with diseases of ICD-10. Without a system such a V code is read as
one of ICD-9-CM and such an E code as one of ICD-10, as the tables know these: a check too many does less harm than one too
few. `other` then says which system it may be of instead.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Final, NamedTuple


class System(StrEnum):
    """The systems whose codes are read. ICD-10 is WHO's, and ICD-10-CM, which extends it."""

    ICD_10 = "ICD-10"
    ICD_9_CM = "ICD-9-CM"
    SNOMED_CT = "SNOMED CT"


_OID: Final = "2.16.840.1.113883.6."
_HL7: Final = "http://hl7.org/fhir/sid/"
# URIs (terminology.hl7.org, "Using code systems") and object identifiers (HL7 OID registry): 3 is ICD-10, 90 ICD-10-CM, 2
# ICD-9-CM, 103 its diagnoses, 96 SNOMED CT.
_URIS: Final = {
    System.ICD_10: (f"{_HL7}icd-10", f"{_HL7}icd-10-cm"),
    System.ICD_9_CM: (f"{_HL7}icd-9-cm",),
    System.SNOMED_CT: ("http://snomed.info/sct",),
}
_ARCS: Final = {System.ICD_10: (3, 90), System.ICD_9_CM: (2, 103), System.SNOMED_CT: (96,)}
NAMES: Final[Mapping[System, tuple[str, ...]]] = {
    system: (*uris, *(f"{before}{_OID}{arc}" for before in ("", "urn:oid:") for arc in _ARCS[system]))
    for system, uris in _URIS.items()
}
_SYSTEMS: Final = {name: system for system, names in NAMES.items() for name in names}

_FORMS: Final = {
    System.ICD_10: re.compile(r"[A-Z][0-9][0-9A-Z](?:\.[0-9A-Z]{1,4})?"),
    System.ICD_9_CM: re.compile(
        r"(?:[0-9]{3}|V(?:0[1-9]|[1-8][0-9]|9[01]))(?:\.[0-9]{1,2})?"
        r"|E(?:0[0-2][0-9]|030|[89][0-9]{2})(?:\.[0-9])?"
    ),
    System.SNOMED_CT: re.compile(r"[0-9]{6,18}"),
}
# ICD-10-CM: what an injury, a poisoning or another external cause left behind, by the seventh character.
_SEQUELA: Final = re.compile(r"[STVWXY][0-9][0-9A-Z]\.[0-9A-Z]{3}S")
_INSIDE: Final = re.compile(
    r"(?<![A-Z0-9.])(?:(?P<letter>[A-Z]) ?(?P<icd_10>[0-9][0-9A-Z](?:\.[0-9A-Z]{1,4})?)|(?P<icd_9>[0-9]{3}\.[0-9]{1,2}))"
    r"(?![A-Z0-9])"
)


class Code(NamedTuple):
    """A code that was read: as it was sent, without its system; its system; and in capitals, those of ICD with their dot.

    `other` is the system that it may be of instead, None if there is no doubt.
    """

    sent: str
    system: System
    bare: str
    other: System | None = None

    @property
    def key(self) -> str:
        """What codes are compared by: one of a group of codes begins with the key of the group's."""
        return f"{self.system} {self.bare}"

    @property
    def is_sequela(self) -> bool:
        """Whether it is of what an injury or another external cause left behind: the injury itself is over."""
        return self.system is System.ICD_10 and _SEQUELA.fullmatch(self.bare) is not None


def read_code(text: str, systems: Collection[System] = tuple(System)) -> Code | None:
    """The code that a text is, if it is one of `systems` and nothing else; it need not exist."""
    name, sent = _parted(text)
    bare = sent.upper()
    if name:
        named = _SYSTEMS.get(name)
        found = _spelled(bare, named) if named and named in systems else ""
        return Code(sent, named, found) if named and found else None
    fitting = {each: found for each in System if (found := _spelled(bare, each))}
    likely = _by_shape(bare, fitting)
    chosen = next((each for each in (*likely, *fitting) if each in systems), None)
    if chosen is None:
        return None
    return Code(sent, chosen, fitting[chosen], next((each for each in likely if each is not chosen), None))


def key_of(written: str) -> str:
    """The key of a code, or of the beginning of one, that a table lists. Raises ValueError for what is no code."""
    found = read_code(written)
    if found is None:
        raise ValueError(f"{written!r} is no code of ICD-10-CM or ICD-9-CM, nor the beginning of one")
    return found.key


def names_system(text: str) -> bool:
    """Whether a system stands before the code, one that is read or another."""
    return bool(_parted(text)[0])


def has_read_system(text: str) -> bool:
    """Whether one of the systems that are read stands before the code."""
    return _parted(text)[0] in _SYSTEMS


def with_system(system: str, code: str) -> str:
    """A code of a system by a name of it; alone if it is read so without it. A code of another system stays as it is."""
    named = _SYSTEMS.get(system)
    alone = read_code(code)
    if named is None or (alone and alone.system is named and alone.other is None):
        return code
    return f"{system}|{code}"


def code_inside(text: str) -> str | None:
    """The first code of ICD that stands in a text with something else, such as "ICD-10: K92.2"; None if there is none."""
    found = _INSIDE.search(text.upper())
    if found is None:
        return None
    return found["icd_9"] or f"{found['letter']}{found['icd_10']}"


def _parted(text: str) -> tuple[str, str]:
    """The name of a system, "" if there is none, a bar for an empty one, and what stands behind it."""
    system, bar, code = text.strip().rpartition("|")
    return (system.strip() or bar, code.strip()) if bar else ("", code)


def _spelled(bare: str, system: System) -> str:
    """A code in the one spelling of a system; "" if it lacks its form."""
    category = 4 if system is System.ICD_9_CM and bare.startswith("E") else 3
    dotted = bare
    if system is not System.SNOMED_CT and "." not in bare and len(bare) > category:
        dotted = f"{bare[:category]}.{bare[category:]}"
    return dotted if _FORMS[system].fullmatch(dotted) else ""


def _by_shape(bare: str, fitting: Collection[System]) -> list[System]:
    """The systems that a code without one may be of, the one that it is taken for first."""
    if System.ICD_9_CM not in fitting or System.ICD_10 not in fitting:
        return list(fitting)
    if bare.startswith("V"):
        return [System.ICD_9_CM, System.ICD_10]
    # ICD-10 has no category behind E90, and none below it.
    return [System.ICD_9_CM] if bare.startswith("E9") else [System.ICD_10, System.ICD_9_CM]
