"""What codes of diagnoses say of pregnancy, kidneys, potassium and allergies."""

from __future__ import annotations

import math
import re
from typing import Final, NamedTuple

from models.drug_safety.codes import Code, System, key_of

# ICD-10, chapter XV before labour, and labour without delivery (O60.0); a positive test (Z32.01, WHO's Z32.1), Z33 to Z35,
# screening and suspicions of the mother and the fetus (Z36, Z03.7), Z3A (weeks of gestation) and Z64.0 (an unwanted one); O98
# to O9A with the digit for pregnancy, which is the fifth or, where that says which disease, the sixth.
_PREGNANT: Final = re.compile(
    r"(?:O(?:09|1[0-6]|2[0-9]|3[0-6]|4[0-8])|Z(?:33|34|35|36|3A))\w{0,4}|O600\d?|Z(?:3201|321|037\d?|640)"
    r"|O(?:98\d|99[014-7]|9A\d)1\w*|O99(?:2[18]|3[1-5]|84|8[123])[0-3]|O99891"
)
# What ICD-10-CM has among these for childbirth and the puerperium.
_LATER: Final = re.compile(r"(?:O(?:10\d|24\d|26[67])[23]|O(?:11|12\d|13|14\d|16)[45]|O15[12]|O25[23])\w*")
# ICD-9-CM: 640 to 649 with the fifth digit for "antepartum", V22, V23, V28 (screening), V61.7 (an unwanted one), V72.42 (a
# positive test), V89.0 (suspicions of mother and fetus) and V91 (twins and more).
_ICD_9: Final = re.compile(r"64\d\d3|V(?:22|23|28|91)\d{0,2}|V617|V7242|V890\d?")
# SNOMED CT: pregnant, finding of pregnancy, gestational diabetes.
_SNOMED: Final = frozenset(("77386006", "72892002", "11687002"))
# Chapter XV but for the puerperium (O85 to O92), sequelae and deaths (O94 to O97); ICD-9-CM, 630 to 669 likewise.
_CHAPTERS: Final = {
    System.ICD_10: re.compile(r"O(?:[0-7]\d|8[0-4]|98|99|9A)\w*"),
    System.ICD_9_CM: re.compile(r"6(?:3\d|[456]\d)\d{0,2}"),
}


def says_pregnant(code: Code) -> bool:
    """Whether a code says that somebody is pregnant now."""
    bare = code.bare.replace(".", "")
    if code.system is System.SNOMED_CT:
        return bare in _SNOMED
    if code.system is System.ICD_9_CM:
        return _ICD_9.fullmatch(bare) is not None
    return _PREGNANT.fullmatch(bare) is not None and _LATER.fullmatch(bare) is None


def may_say_pregnant(code: Code) -> bool:
    """Whether a code says so, or is one of pregnancy, its end or childbirth that leaves open whether it lasts."""
    chapter = _CHAPTERS.get(code.system)
    return says_pregnant(code) or (
        chapter is not None and chapter.fullmatch(code.bare.replace(".", "")) is not None
    )


class Clearance(NamedTuple):
    """What is known of the clearance in ml/min: from `least` up to, not including, `below`. `fact` says by what."""

    fact: str
    least: float
    below: float

    @property
    def unbounded(self) -> bool:
        """Whether it may be that of healthy kidneys."""
        return self.below == math.inf


KIDNEY_FAILURE: Final = 15.0  # ml/min and 1.73 m2: stage 5 is less
# Beginnings of codes, and from what to below what the filtration rate is, by the stages of KDIGO (CKD guideline, 2012, 1.4.3).
# Dialysis counts as stage 5, also by complications of its catheter;
# of acute failure, and of disease without a stage, nothing is known. A longer beginning goes first. None: stages 1 and 2, in
# which no drug of the tables is limited.
_STAGES: Final = (
    ("N18.6 N18.5 Z99.2 Z49 Z91.15 I12.0 I13.11 I13.2 585.5 585.6 V45.1 V56 403.01 403.11 403.91", 0, 15),
    ("T82.4 T85.611 T85.621 T85.631 T85.691 T85.71 996.56 996.68", 0, 15),
    ("404.02 404.12 404.92 404.03 404.13 404.93", 0, 15),
    ("N18.4 585.4", 15, 30),
    ("N18.32", 30, 45),
    ("N18.31", 45, 60),
    ("N18.3 585.3", 30, 60),
    ("N18.1 N18.2 585.1 585.2", None, None),
    ("N17 N18 N19 N99.0 K76.7 O90.4 584 585 586 572.4 I12 I13 403 404", 0, math.inf),
    ("E08.2 E09.2 E10.2 E11.2 E12.2 E13.2 E14.2 249.4 250.4", 0, math.inf),
    ("D63.1 K91.83 O03.32 O03.82 O04.82 O07.32 O08.4 O10.2 O10.3 T79.5 639.3 669.3 958.5", 0, math.inf),
)
_RANGES: Final = {
    key_of(beginning): None if least is None or below is None else (float(least), float(below))
    for codes, least, below in _STAGES
    for beginning in codes.split()
}


def stage_of(code: Code) -> tuple[float, float] | None:
    """From what to below what the code says that the clearance is, in ml/min; None if it says nothing of it."""
    if code.is_sequela:
        return None
    return next((found for beginning, found in _RANGES.items() if code.key.startswith(beginning)), None)


class AllergyStatus(NamedTuple):
    """What a code of allergy status says: a class of allergy_classes.csv, "" if none; to what; whether a drug is meant."""

    allergen: str
    words: str
    of_drug: bool = True


_OF_DRUGS: Final = {
    "Z88.0": ("penicillins", "penicillin"),
    "Z88.1": ("", "other antibiotics"),
    "Z88.2": ("sulfonamide antibiotics", "sulfonamides"),
    "Z88.3": ("", "other anti-infective drugs"),
    "Z88.4": ("", "an anesthetic"),
    "Z88.5": ("opioids", "a narcotic"),
    "Z88.6": ("", "an analgesic"),
    "Z88.7": ("", "serum or vaccine"),
    "Z88.8": ("", "other drugs"),
    "Z88.9": ("", "unspecified drugs"),
    "V14.0": ("penicillins", "penicillin"),
    "V14.1": ("", "other antibiotics"),
    "V14.2": ("sulfonamide antibiotics", "sulfonamides"),
    "V14.3": ("", "other anti-infective drugs"),
    "V14.4": ("", "an anesthetic"),
    "V14.5": ("opioids", "a narcotic"),
    "V14.6": ("", "an analgesic"),
    "V14.7": ("", "serum or vaccine"),
    "V14.8": ("", "other drugs"),
    "V14.9": ("", "unspecified drugs"),
}


# Z91.0 and V15.0, other than to drugs; some substances are in drugs, too. A longer beginning goes first.
_OF_OTHERS: Final = {
    "Z91.010": ("peanut", "peanuts"),
    "Z91.012": ("egg", "eggs"),
    "Z91.040": ("", "latex"),
    "Z91.041": ("iodinated contrast media", "radiographic dye"),
    "V15.01": ("peanut", "peanuts"),
    "V15.03": ("egg", "eggs"),
    "V15.07": ("", "latex"),
    "V15.08": ("iodinated contrast media", "radiographic dye"),
    "Z91.01": ("", "food"),
    "Z91.02": ("", "food additives"),
    "Z91.03": ("", "insects"),
    "V15.02": ("", "milk products"),
    "V15.04": ("", "seafood"),
    "V15.05": ("", "other foods"),
    "V15.06": ("", "insects"),
    "Z91.0": ("", "something other than a drug"),
    "V15.0": ("", "something other than a drug"),
}
_ALLERGIES: Final = {
    **{key_of(code): AllergyStatus(*found) for code, found in _OF_DRUGS.items()},
    **{key_of(code): AllergyStatus(*found, of_drug=False) for code, found in _OF_OTHERS.items()},
}


def allergy_of(code: Code) -> AllergyStatus | None:
    """What a code of allergy status of ICD-10-CM or ICD-9-CM says; None for others."""
    return next((found for beginning, found in _ALLERGIES.items() if code.key.startswith(beginning)), None)


HYPERKALEMIA: Final = key_of("E87.5")
HYPOKALEMIA: Final = key_of("E87.6")
_HIGH: Final = (HYPERKALEMIA, key_of("276.7"))
_LOW: Final = (HYPOKALEMIA, key_of("276.8"))


def says_of_potassium(code: Code) -> bool | None:
    """True for hyperkalemia, False for hypokalemia, None for any other code."""
    return True if code.key.startswith(_HIGH) else False if code.key.startswith(_LOW) else None
