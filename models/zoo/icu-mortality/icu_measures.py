"""What is measured of a patient of icu-mortality, with unit and accepted range, and made-up patients for golden cases."""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Measure(NamedTuple):
    """One parameter of the challenge.

    Its range holds every value of the training set but decimal points that were left out. The usual range of the median leaves
    out what no patient of that set had for two days, with some room, or what is another unit. `decimals` are those that its
    values have there (of creatinine one more), of measures that a unit with smaller numbers might be accepted of, and
    `decimals_to_median` lies above the medians in that unit: of urea in mmol/L, pressures in kPa, enzymes in ukat/L.
    """

    name: str
    title: str
    unit: str
    minimum: float
    maximum: float
    unknown: float | None = -1.0
    whole: bool = False
    usual_minimum: float | None = None
    usual_maximum: float | None = None
    most_change: float | None = None
    not_below: str | None = None
    decimals: int | None = None
    decimals_to_median: float | None = None


MEASURES = [
    Measure("Age", "Age", "a", 0, 120, usual_minimum=16, most_change=10),
    Measure("Gender", "Gender: 0 female, 1 male", "1", 0, 1, whole=True, most_change=0),
    Measure("Height", "Height", "cm", 0, 450, usual_minimum=100, most_change=0),
    Measure("Weight", "Weight", "kg", 0, 400, usual_minimum=20),
    Measure("Albumin", "Albumin", "g/dL", 0, 10),
    Measure(
        "ALP", "Alkaline phosphatase", "[IU]/L", 0, 5000, usual_minimum=8, decimals=0, decimals_to_median=30
    ),
    Measure(
        "ALT",
        "Alanine transaminase",
        "[IU]/L",
        0,
        30000,
        usual_minimum=1.5,
        decimals=0,
        decimals_to_median=100,
    ),
    Measure(
        "AST",
        "Aspartate transaminase",
        "[IU]/L",
        0,
        50000,
        usual_minimum=3,
        decimals=0,
        decimals_to_median=100,
    ),
    Measure("Bilirubin", "Bilirubin", "mg/dL", 0, 50),
    Measure("BUN", "Blood urea nitrogen", "mg/dL", 0, 300, decimals=0, decimals_to_median=50),
    Measure("Cholesterol", "Cholesterol", "mg/dL", 0, 1000, usual_minimum=15),
    Measure(
        "Creatinine", "Creatinine", "mg/dL", 0, 25, usual_minimum=0.12, decimals=2, decimals_to_median=0.5
    ),
    Measure(
        "DiasABP",
        "Diastolic arterial pressure, invasive",
        "mm[Hg]",
        0,
        300,
        decimals=0,
        decimals_to_median=20,
    ),
    Measure("FiO2", "Fraction of inspired oxygen", "1", 0.15, 1),
    Measure("GCS", "Glasgow coma score", "1", 3, 15, whole=True),
    Measure("Glucose", "Glucose", "mg/dL", 5, 2000, usual_minimum=30),
    Measure("HCO3", "Bicarbonate", "mmol/L", 0, 80),
    Measure("HCT", "Haematocrit", "%", 3, 80, usual_minimum=12),
    Measure("HR", "Heart rate", "/min", 0, 350, usual_minimum=30, usual_maximum=200),
    Measure("K", "Potassium", "mmol/L", 0.5, 30, usual_minimum=1.5, usual_maximum=10),
    Measure("Lactate", "Lactate", "mmol/L", 0, 30, usual_maximum=25),
    Measure(
        "MAP",
        "Mean arterial pressure, invasive",
        "mm[Hg]",
        0,
        350,
        not_below="DiasABP",
        decimals=0,
        decimals_to_median=25,
    ),
    Measure("MechVent", "Mechanical ventilation: 1", "1", 0, 1, whole=True),
    Measure(
        "Mg",
        "Magnesium",
        "mg/dL",
        0,
        15,
        usual_minimum=0.4,
        usual_maximum=8,
        decimals=1,
        decimals_to_median=1.5,
    ),
    Measure("Na", "Sodium", "mmol/L", 80, 200, usual_minimum=100, usual_maximum=185),
    Measure(
        "NIDiasABP", "Diastolic arterial pressure, cuff", "mm[Hg]", 0, 300, decimals=0, decimals_to_median=20
    ),
    Measure("NIMAP", "Mean arterial pressure, cuff", "mm[Hg]", 0, 350, not_below="NIDiasABP"),
    Measure(
        "NISysABP",
        "Systolic arterial pressure, cuff",
        "mm[Hg]",
        0,
        350,
        not_below="NIDiasABP",
        decimals=0,
        decimals_to_median=30,
    ),
    Measure("PaCO2", "Arterial carbon dioxide", "mm[Hg]", 0, 200, usual_minimum=10),
    Measure("PaO2", "Arterial oxygen", "mm[Hg]", 0, 800, usual_minimum=20, decimals=0, decimals_to_median=60),
    Measure("pH", "Arterial pH", "[pH]", 6, 8.5, usual_minimum=6.7, usual_maximum=7.9),
    Measure("Platelets", "Platelets", "10*3/uL", 0, 3000),
    Measure("RespRate", "Respiration rate", "/min", 0, 120, usual_minimum=5, usual_maximum=60),
    Measure("SaO2", "Oxygen saturation", "%", 10, 100, usual_minimum=40),
    Measure(
        "SysABP",
        "Systolic arterial pressure, invasive",
        "mm[Hg]",
        0,
        350,
        not_below="DiasABP",
        decimals=0,
        decimals_to_median=30,
    ),
    Measure("Temp", "Temperature", "Cel", -20, 45, None, usual_minimum=30, usual_maximum=42),
    Measure("TroponinI", "Troponin I", "ug/L", 0, 100),
    Measure("TroponinT", "Troponin T", "ug/L", 0, 50),
    Measure("Urine", "Urine since the last value", "mL", 0, 15000, decimals=0, decimals_to_median=2),
    Measure("WBC", "White blood cells", "10*3/uL", 0, 500),
]


def patient(
    age: int, hours: int, severity: float, *, every: float = 1.0, laboratory: bool = True
) -> dict[str, object]:
    """A made-up patient, the worse the greater `severity` (0 to 1)."""
    rows = [
        ("00:00", "Age", age),
        ("00:00", "Gender", age % 2),
        ("00:00", "Height", -1),
        ("00:00", "Weight", 60 + age % 30),
    ]
    step = 0.5
    while step < hours:
        time = f"{int(step):02}:{int(step % 1 * 60):02}"
        rows += [
            (time, "HR", round(75 + 45 * severity + 3 * (step % 3))),
            (time, "NISysABP", round(128 - 45 * severity - 2 * (step % 2))),
            (time, "NIDiasABP", round(70 - 25 * severity - 2 * (step % 2))),
            (time, "NIMAP", round(89 - 32 * severity - 2 * (step % 2))),
            (time, "RespRate", round(15 + 14 * severity)),
            (time, "Temp", round(37 + severity, 1)),
            (time, "Urine", round(90 - 80 * severity)),
            (time, "GCS", round(15 - 10 * severity)),
        ]
        if laboratory and step % 12 < every:
            rows += [
                (time, "BUN", round(16 + 60 * severity)),
                (time, "Creatinine", round(0.9 + 3 * severity, 1)),
                (time, "Lactate", round(1.1 + 7 * severity, 1)),
                (time, "HCO3", round(25 - 9 * severity)),
                (time, "Platelets", round(230 - 150 * severity)),
                (time, "WBC", round(9 + 12 * severity, 1)),
                (time, "Glucose", round(115 + 90 * severity)),
                (time, "HCT", round(36 - 9 * severity, 1)),
                (time, "K", round(4.1 + 0.9 * severity, 1)),
                (time, "Mg", 2.0),
                (time, "Na", round(139 - 4 * severity)),
            ]
        step += every
    return {"observations": [{"time": time, "parameter": name, "value": value} for time, name, value in rows]}


def _far() -> dict[str, object]:
    names = {"HR": 195, "NISysABP": 345, "RespRate": 59, "Temp": 31, "Na": 184, "K": 9, "Mg": 7, "WBC": 480}
    rows = [(f"{hour:02}:00", name, value) for hour in range(0, 48, 8) for name, value in names.items()]
    return {"observations": [{"time": time, "parameter": name, "value": value} for time, name, value in rows]}


def _heart_rate() -> dict[str, object]:
    return {"observations": [{"time": f"{hour:02}:00", "parameter": "HR", "value": 80} for hour in range(48)]}


def _wrong_unit(name: str, factor: float) -> dict[str, object]:
    found = patient(62, 48, 0.1)
    rows = found["observations"]
    assert isinstance(rows, list)
    changed = [
        {**row, "value": round(row["value"] * factor)} if row["parameter"] == name else row for row in rows
    ]
    return {"observations": changed}


GOLDEN = [
    ("an old patient who does well", patient(78, 48, 0.05)),
    ("a young patient who does well", patient(31, 48, 0.0)),
    ("an old patient in shock", patient(85, 48, 0.95)),
    ("a young patient in shock", patient(33, 48, 0.9)),
    ("in between", patient(66, 48, 0.5)),
    ("the first forty hours alone", patient(66, 40, 0.5)),
    ("measured every hour and a half", patient(70, 48, 0.4, every=1.5)),
    ("without laboratory values, from which it abstains", patient(70, 48, 0.4, laboratory=False)),
    ("heart rate alone, from which it abstains", _heart_rate()),
    ("lactate in mg/dL, from which it abstains", _wrong_unit("Lactate", 9.008)),
    ("values that do not occur together, from which it abstains", _far()),
]


def measures_toml(suspect_units: Mapping[str, Sequence[Mapping[str, object]]]) -> str:
    """The tables of the manifest's measures; suspect units by the name of their measure."""
    lines = []
    for each in MEASURES:
        told = {
            key: value for key, value in each._asdict().items() if value is not None and value is not False
        }
        told |= {key: float(value) for key, value in told.items() if type(value) is int and key != "decimals"}
        lines += ["[[parameters.measures]]", *(f"{key} = {json.dumps(value)}" for key, value in told.items())]
        if units := suspect_units.get(each.name):
            tables = (
                ", ".join(f"{key} = {json.dumps(value)}" for key, value in one.items()) for one in units
            )
            lines.append(f"suspect_units = [{', '.join(f'{{{one}}}' for one in tables)}]")
        lines.append("")
    return "\n".join(lines).rstrip()
