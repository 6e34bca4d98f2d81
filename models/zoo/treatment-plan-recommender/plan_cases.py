"""Made-up patients: the golden cases of treatment-plan-recommender, with the answers of diagnosis jobs that they follow."""

ICD_10 = "http://hl7.org/fhir/sid/icd-10"
OBSERVED = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"


def answered(
    probabilities: dict[str, float], display: str, code: tuple[str, str] | None = None
) -> dict[str, object]:
    """The result of a classifier that answers the first of its labels, as a part of a golden case."""
    result = {
        "type": "classification",
        "label": next(iter(probabilities)),
        "display": display,
        "code": dict(zip(("system", "code"), code, strict=True)) if code else None,
        "probabilities": probabilities,
        "threshold": 0.5,
        "abstained": False,
        "abstain_reason": None,
    }
    return {"result": result}


PNEUMONIA = answered({"pneumonia": 0.97, "normal": 0.03}, "Pneumonia, unspecified", (ICD_10, "J18.9"))
NORMAL = answered({"normal": 0.94, "pneumonia": 0.06}, "Normal", (OBSERVED, "N"))
CORONARY = answered({"disease": 0.83, "no_disease": 0.17}, "Coronary artery disease", (ICD_10, "I25.1"))
MALIGNANT = answered({"malignant": 0.99, "benign": 0.01}, "Malignant neoplasm of breast", (ICD_10, "C50.9"))
DIES = answered({"died": 0.71, "survived": 0.29}, "Died in hospital")

GOLDEN: list[tuple[str, dict[str, object]]] = [
    (
        "pneumonia on an X-ray, ventilated, allergic to penicillin: a drug is removed",
        {
            "diagnosis": PNEUMONIA,
            "interventions": ["mechanical ventilation"],
            "services": ["critical care"],
            "drugs": ["norepinephrine", "propofol"],
            "diagnoses": ["J96.0"],
            "age": 66.0,
            "sex": "male",
            "unit": "MICU",
            "allergies": ["penicillin"],
            "smoking": "current",
        },
    ),
    (
        "coronary disease, on warfarin and lisinopril: both are told to the advice",
        {
            "diagnosis": CORONARY,
            "drugs": ["Coumadin", "lisinopril"],
            "past_history": ["hypertension requiring treatment"],
            "age": 71.0,
            "sex": "female",
            "allergies": [],
            "systolic": 148.0,
            "diastolic": 82.0,
            "bmi": 31.0,
        },
    ),
    ("a normal X-ray and nothing else: it abstains", {"diagnosis": NORMAL, "age": 40.0}),
    (
        "a normal X-ray beside diagnoses that the caller sends",
        {
            "diagnosis": NORMAL,
            "diagnoses": ["E11.9", "N17.9"],
            "drugs": ["insulin regular"],
            "age": 58.0,
            "sex": "female",
            "creatinine_clearance_ml_min": 22.0,
        },
    ),
    (
        "two diagnosis jobs, before any drug",
        {
            "diagnosis": PNEUMONIA,
            "diagnosis_2": CORONARY,
            "age": 79.0,
            "sex": "male",
            "admitted_from": "Emergency Department",
        },
    ),
    (
        "an answer without a code beside a code of ICD-9 and a finding that nobody knows",
        {
            "diagnosis": DIES,
            "diagnoses": ["038.9", "Q99.9"],
            "interventions": ["hemodialysis", "knitting"],
            "drugs": ["vancomycin", "bedaquiline"],
            "drugs_present": ["vancomycin"],
            "age": 61.0,
            "allergies": ["sulfa"],
        },
    ),
    (
        "pregnant, and pneumonia on an X-ray: drugs are removed or flagged, and absent values are told",
        {
            "diagnosis": PNEUMONIA,
            "drugs": ["acetaminophen"],
            "age": 31.0,
            "sex": "female",
            "pregnant": True,
            "allergies": [],
            "oxygen_saturation": 88.0,
        },
    ),
    (
        "what the patient takes: against an allergy, a diagnosis that a job answered, the kidneys and each other",
        {
            "diagnosis": CORONARY,
            "drugs": ["amoxicillin", "Metformin 500 mg tablet", "sumatriptan", "nitroglycerin", "Viagra"],
            "age": 68.0,
            "sex": "male",
            "allergies": ["penicillin"],
            "egfr": 24.0,
        },
    ),
    ("a code that no section knows: it abstains", {"diagnosis": MALIGNANT, "age": 52.0, "sex": "female"}),
]
