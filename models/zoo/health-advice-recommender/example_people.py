"""Made-up people of the golden cases."""

from typing import Any

Known = dict[str, Any]


def example_people() -> list[tuple[str, Known]]:
    """(note, input) of the golden cases, made up here."""
    woman, man = {"sex": "female", "pregnant": False}, {"sex": "male"}
    return [
        (
            "high blood pressure and diabetes, nothing against",
            {
                "age": 61,
                **man,
                "conditions": ["I10", "E11.9"],
                "systolic": 152,
                "diastolic": 92,
                "bmi": 31,
                "egfr": 84,
                "potassium": 4.2,
                "smoking": "current",
                "activity": 30,
            },
        ),
        (
            "with kidney disease: no potassium",
            {
                "age": 72,
                **man,
                "conditions": ["I10", "N18.3"],
                "systolic": 144,
                "diastolic": 80,
                "egfr": 42,
                "potassium": 4.9,
            },
        ),
        (
            "chest pain: exercise is withheld",
            {"age": 58, **man, "conditions": ["I25.1"], "symptoms": ["chest_pain"], "activity": 20},
        ),
        (
            "low glucose",
            {
                "age": 34,
                **woman,
                "conditions": ["E10.9"],
                "medicines": ["insulin"],
                "glucose": 50,
                "alcohol": 40,
            },
        ),
        (
            "atrial fibrillation with warfarin, in SNOMED CT",
            {
                "age": 70,
                **man,
                "conditions": ["49436004", "38341003"],
                "medicines": ["vitamin_k_antagonist"],
                "egfr": 70,
                "potassium": 4.4,
            },
        ),
        (
            "pregnancy with gestational diabetes",
            {
                "age": 31,
                "sex": "female",
                "pregnant": True,
                "conditions": ["O24.4"],
                "systolic": 118,
                "diastolic": 74,
            },
        ),
        (
            "pregnancy that rules out exercise",
            {"age": 29, "sex": "female", "pregnant": True, "conditions": ["O44"], "smoking": "never"},
        ),
        (
            "cirrhosis and alcohol use disorder",
            {"age": 55, **man, "conditions": ["K70.3", "F10.2"], "alcohol": 500},
        ),
        (
            "cirrhosis and alcohol dependence, drinks nothing",
            {"age": 55, **man, "conditions": ["K70.3", "F10.20"], "alcohol": 0},
        ),
        (
            "potassium and sodium at the danger of life: exercise and diet are withheld",
            {"age": 66, **woman, "conditions": ["I10"], "potassium": 1.5, "sodium": 118, "activity": 0},
        ),
        (
            "frail and underweight with osteoporosis",
            {"age": 83, **woman, "conditions": ["R54", "M81.0", "E46"], "bmi": 17.2, "egfr": 55},
        ),
        (
            "almost nothing known: what is missing is told",
            {"age": 47, "sex": "female", "conditions": ["I10", "Z99.9"]},
        ),
        ("habits alone", {"age": 26, **man, "smoking": "never", "alcohol": 160, "activity": 40, "sleep": 6}),
        ("nothing known: it abstains", {"age": 40, "sex": "female"}),
        (
            "a child: it abstains, red flags are told",
            {"age": 9, "conditions": ["J45.9"], "oxygen_saturation": 88},
        ),
    ]
