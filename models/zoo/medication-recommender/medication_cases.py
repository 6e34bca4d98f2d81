"""Made-up patients: the golden cases of medication-recommender."""

GOLDEN: list[tuple[str, dict[str, object]]] = [
    (
        "heart failure with atrial fibrillation, warfarin given: a contraindicated drug is removed",
        {
            "history": ["furosemide", "metoprolol", "warfarin"],
            "diagnoses": ["I50.9", "I48.0"],
            "past_history": ["hypertension requiring treatment", "CHF"],
            "age": 78.0,
            "sex": "female",
            "unit": "Cardiac ICU",
            "admitted_from": "Emergency Department",
            "allergies": [],
        },
    ),
    (
        "diabetic ketoacidosis, before any drug",
        {
            "diagnoses": ["250.13", "E10.1"],
            "past_history": ["insulin dependent diabetes"],
            "age": 34.0,
            "sex": "male",
        },
    ),
    (
        "septic shock from pneumonia, ventilated",
        {
            "history": ["norepinephrine", "propofol", "fentanyl", "vancomycin"],
            "diagnoses": ["038.9", "785.52", "486", "518.81"],
            "age": 66.0,
            "sex": "male",
            "unit": "MICU",
            "allergies": ["penicillin"],
        },
    ),
    (
        "exacerbated COPD, drugs by brand and by the codes of the data",
        {
            "history": ["DuoNeb", "hicl:2876", "rxnorm:82122"],
            "diagnoses": ["J44.1"],
            "age": 71.0,
            "sex": "female",
        },
    ),
    (
        "alcohol withdrawal",
        {"history": ["lorazepam", "thiamine", "folic acid"], "diagnoses": ["291.81", "F10.239"], "age": 47.0},
    ),
    (
        "after an operation, in a surgical unit",
        {
            "history": ["cefazolin", "hydromorphone", "ondansetron", "ketorolac"],
            "age": 59.0,
            "sex": "female",
            "unit": "SICU",
            "admitted_from": "Operating Room",
            "creatinine_clearance_ml_min": 95.0,
        },
    ),
    (
        "gastrointestinal bleeding with cirrhosis, some codes unknown",
        {
            "history": ["pantoprazole", "octreotide"],
            "present": ["pantoprazole"],
            "diagnoses": ["578.9", "K74.6", "Y92.2"],
            "past_history": ["Cirrhosis/clinical diagnosis"],
            "age": 55.0,
            "sex": "male",
        },
    ),
    (
        "nothing that the model knows: it abstains",
        {"history": ["bedaquiline"], "diagnoses": ["B60.1"], "age": 40.0, "sex": "female"},
    ),
    (
        "pregnancy and kidney failure by their codes, a clearance that contradicts, and a diagnosis that is no code",
        {
            "history": ["metoprolol"],
            "diagnoses": ["Z33.1", "N18.6", "I10", "GI bleed"],
            "age": 31.0,
            "sex": "female",
            "allergies": [],
            "creatinine_clearance_ml_min": 90.0,
        },
    ),
    (
        "what the patient takes: against an allergy, the kidneys and each other; an order that is not understood, a drug twice",
        {
            "history": [
                "amoxicillin",
                "Metformin 500 mg tablet",
                "warfarin",
                "aspirin",
                "aspirin",
                "hold metoprolol",
            ],
            "diagnoses": ["E11.9", "Z91.040"],
            "age": 71.0,
            "sex": "female",
            "allergies": ["penicillin", "azithromycn"],
            "egfr": 24.0,
        },
    ),
    ("drugs alone", {"history": ["aspirin", "clopidogrel", "atorvastatin", "heparin"]}),
]
