"""What advice depends on: conditions, vitals, habits, symptoms and medicines of one person, and what is known of each field.

Ranges are what a living adult can have and a device can show; anything beyond is a slip and refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from annotated_types import Ge, Le
from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from models.drug_safety.codes import NAMES, System, names_system, read_code
from models.field_codes import FieldCode
from models.pipelines.contract import FieldFault, InputRejected
from models.pipelines.pregnancy import Facts, contradictions
from models.pipelines.typed import TypedInput

MOST_CONDITIONS: Final = 200
# The systems that advice reads: ICD-10 (with or without the dot, WHO's or a national one), and SNOMED CT, which is all digits.
SYSTEMS: Final = (System.ICD_10, System.SNOMED_CT)
_PATTERNS: Final = {
    System.ICD_10: "[A-Za-z][0-9][0-9A-Za-z](\\.?[0-9A-Za-z]{1,4})?",
    System.SNOMED_CT: "[0-9]{6,18}",
}
_NO_CODE: Final = (
    "Write one code of ICD-10, such as I10 or E11.9, or of SNOMED CT, such as 38341003; the URI of its system and a bar may "
    "stand before it, as in http://hl7.org/fhir/sid/icd-10|I10. Nothing may follow the code."
)


def _code(value: Any) -> Any:
    """A code without its system, so that a code is checked and told apart from others in one spelling."""
    if not isinstance(value, str):
        return value
    read = read_code(value, SYSTEMS)
    if read is None or value != value.strip():
        raise PydanticCustomError(FieldCode.WRONG_FORMAT.value, "{detail}", {"detail": _NO_CODE})
    return read.bare if names_system(value) else read.sent


def _behind(system: System) -> str:
    names = "|".join(map(re.escape, NAMES[system]))
    return rf"(({names})\|)?{_PATTERNS[system]}"


_SCHEMA: Final = {"type": "string", "pattern": f"^({'|'.join(map(_behind, SYSTEMS))})$"}
Condition = Annotated[str, BeforeValidator(_code), WithJsonSchema(_SCHEMA)]
Symptom = Literal[
    "black_or_bloody_stools",
    "breathlessness_at_rest",
    "calf_swelling_or_pain",
    "chest_pain",
    "confusion",
    "face_arm_or_speech_weakness",
    "fainting",
    "numb_saddle_or_no_bladder_control",
    "persistent_vomiting",
    "sudden_severe_headache",
    "suicidal_thoughts",
    "vaginal_bleeding",
    "visual_disturbance",
]
Medicine = Literal[
    "glucocorticoid",
    "insulin",
    "lithium",
    "opioid_or_benzodiazepine",
    "potassium_raising",
    "sulfonylurea",
    "vitamin_k_antagonist",
]


def _number(title: str, unit: str, least: float, most: float, description: str = "") -> Any:
    return Field(title=title, description=description, ge=least, le=most, json_schema_extra={"unit": unit})


def laboratory(title: str, unit: str, least: float, most: float, conversion: str) -> tuple[Any, ...]:
    """A quantity that is also reported in another unit; all usual values in that lie below `least`."""

    def in_the_unit(value: Any) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool) and value < least:
            detail = f"{title} must be a number between {least:g} and {most:g} {unit}: {conversion}."
            raise PydanticCustomError(FieldCode.OUT_OF_RANGE.value, "{detail}", {"detail": detail})
        return value

    return _number(title, unit, least, most, conversion), BeforeValidator(in_the_unit)


class Person(TypedInput):
    """One adult. Whatever is left out is unknown; lists are taken as complete."""

    conditions: Annotated[
        list[Condition],
        Field(
            title="Conditions",
            description="codes of ICD-10 (I10, E11.9) or SNOMED CT (38341003), also behind the URI of the system and a bar; "
            "empty: none is known",
            max_length=MOST_CONDITIONS,
            examples=[["I10", "E11.9"]],
        ),
    ] = Field(default_factory=list)
    age: Annotated[float, _number("Age", "a", 0, 120), Field(examples=[61.0])]
    sex: Annotated[Literal["female", "male"] | None, Field(title="Sex")] = None
    pregnant: Annotated[bool | None, Field(title="Pregnant")] = None
    breastfeeding: Annotated[bool | None, Field(title="Breastfeeding")] = None
    systolic: Annotated[float | None, _number("Systolic blood pressure", "mm[Hg]", 50, 300)] = None
    diastolic: Annotated[float | None, _number("Diastolic blood pressure", "mm[Hg]", 20, 200)] = None
    heart_rate: Annotated[float | None, _number("Heart rate at rest", "/min", 20, 300)] = None
    oxygen_saturation: Annotated[
        float | None, _number("Oxygen saturation by pulse oximetry", "%", 40, 100)
    ] = None
    temperature: Annotated[float | None, _number("Body temperature", "Cel", 28, 44)] = None
    bmi: Annotated[float | None, _number("Body mass index", "kg/m2", 9, 120)] = None
    # Meters show glucose up to 33.3 mmol/L; LDL cholesterol above 20 mmol/L is unheard of; 2.5 mL/s is a usual filtration rate.
    glucose: Annotated[
        float | None,
        *laboratory(
            "Blood glucose",
            "mg/dL",
            35,
            2000,
            "multiply mmol/L by 18.02; a glucose that is really lower is an emergency, so call for help",
        ),
    ] = None
    ldl: Annotated[
        float | None, *laboratory("LDL cholesterol", "mg/dL", 20, 1000, "multiply mmol/L by 38.67")
    ] = None
    potassium: Annotated[float | None, _number("Potassium in serum", "mmol/L", 1, 12)] = None
    sodium: Annotated[float | None, _number("Sodium in serum", "mmol/L", 95, 200)] = None
    egfr: Annotated[
        float | None,
        *laboratory(
            "Estimated glomerular filtration rate", "mL/min/{1.73_m2}", 3, 200, "multiply mL/s by 60"
        ),
    ] = None
    smoking: Annotated[Literal["never", "former", "current"] | None, Field(title="Smoking")] = None
    alcohol: Annotated[
        float | None,
        _number(
            "Pure alcohol",
            "g/wk",
            0,
            7000,
            "8 g are a unit of the United Kingdom, 14 g a standard drink of the United States",
        ),
    ] = None
    activity: Annotated[
        float | None,
        _number(
            "Physical activity", "min/wk", 0, 10080, "of moderate intensity; a vigorous minute counts twice"
        ),
    ] = None
    sleep: Annotated[float | None, _number("Sleep", "h/d", 0, 24)] = None
    symptoms: Annotated[
        list[Symptom], Field(title="Symptoms now", description="empty: none of them", max_length=50)
    ] = Field(default_factory=list)
    medicines: Annotated[
        list[Medicine],
        Field(
            title="Medicines",
            description="groups on which advice depends; `potassium_raising`: ACE inhibitors, angiotensin receptor blockers, "
            "mineralocorticoid antagonists and other potassium-sparing diuretics; empty: none of them",
            max_length=50,
        ),
    ] = Field(default_factory=list)


_CHINESE: Final = {
    "age": "年龄", "sex": "性别", "pregnant": "妊娠", "breastfeeding": "哺乳", "systolic": "收缩压", "diastolic": "舒张压",
    "heart_rate": "静息心率", "oxygen_saturation": "血氧饱和度", "temperature": "体温", "bmi": "体重指数", "glucose": "血糖",
    "ldl": "低密度脂蛋白胆固醇", "potassium": "血钾", "sodium": "血钠", "egfr": "估算肾小球滤过率", "smoking": "吸烟",
    "alcohol": "纯酒精",
    "activity": "身体活动", "sleep": "睡眠", "symptoms": "当前症状", "medicines": "药物",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Known:
    """What a rule may ask of a field. Numbers have bounds, others their values; of a list, which it may hold."""

    name: str
    titles: Mapping[str, str]
    unit: str = ""
    least: float = 0.0
    most: float = 0.0
    values: tuple[object, ...] = ()
    listed: bool = False


def _known(name: str, field: FieldInfo) -> Known:
    title = {"en": field.title or name, "zh": _CHINESE[name]}
    bounds = {type(each): each for each in field.metadata if isinstance(each, Ge | Le)}
    if bounds:
        extra = field.json_schema_extra
        unit = extra["unit"] if isinstance(extra, dict) else ""
        least, most = (float(getattr(bounds[kind], key)) for kind, key in ((Ge, "ge"), (Le, "le")))
        return Known(name, title, str(unit), least, most)
    kind = field.annotation
    options = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    [inner] = [each for each in options if each is not type(None)]
    if get_origin(inner) is list:
        return Known(name, title, values=get_args(get_args(inner)[0]), listed=True)
    return Known(name, title, values=(True, False) if inner is bool else get_args(inner))


FIELDS: Final[Mapping[str, Known]] = {
    name: _known(name, field) for name, field in Person.model_fields.items() if name != "conditions"
}
CONDITIONS: Final = "conditions"
_BARE: Final = frozenset((CONDITIONS, "age", "sex", "pregnant", "breastfeeding"))


def check_person(person: Person) -> None:
    """Refuse values that contradict each other. Raises InputRejected."""
    faults = []
    if person.systolic is not None and person.diastolic is not None and person.systolic <= person.diastolic:
        detail = "The diastolic pressure must be below the systolic one: check whether they were exchanged."
        faults.append(FieldFault("/diastolic", FieldCode.INVALID_VALUE, detail))
    codes = {CONDITIONS: person.conditions}
    told = Facts(person.pregnant, person.breastfeeding, person.sex, person.age)
    faults += contradictions(told, codes, SYSTEMS)
    if faults:
        raise InputRejected(*faults)


def says_nothing(person: Person) -> bool:
    """Whether nothing but age, sex and whether pregnant is known of somebody."""
    told = person.model_dump(exclude=set(_BARE))
    return not person.conditions and not any(value not in (None, []) for value in told.values())


def bare_code(code: str) -> str:
    """A code as it is compared: in capitals, those of ICD-10 with their dot."""
    read = read_code(code, SYSTEMS)
    return code.upper() if read is None else read.bare
