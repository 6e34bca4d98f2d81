"""Made-up patients: the golden cases of care-service-recommender."""

GOLDEN: list[tuple[str, dict[str, object]]] = [
    (
        "a stroke in Liverpool, an emergency: hospitals with an emergency department",
        {
            "diagnoses": ["434.91"],
            "age": 77.0,
            "sex": "female",
            "latitude": 53.4108,
            "longitude": -2.9779,
            "urgency": "emergency",
            "at": "2026-12-01T22:15:00Z",
        },
    ),
    (
        "acute kidney failure in septic shock, intensivists already asked",
        {
            "history": ["critical care"],
            "diagnoses": ["038.9", "584.9", "N17.9"],
            "age": 64.0,
            "sex": "male",
            "unit": "MICU",
        },
    ),
    (
        "a stroke, before anybody is asked",
        {"diagnoses": ["434.91", "I63.50"], "age": 77.0, "sex": "female", "unit": "Neuro ICU"},
    ),
    (
        "gastrointestinal bleeding with cirrhosis, some codes unknown",
        {
            "diagnoses": ["578.9", "K74.6", "Y92.2"],
            "past_history": ["Cirrhosis/clinical diagnosis"],
            "age": 55.0,
            "sex": "male",
            "admitted_from": "Emergency Department",
        },
    ),
    (
        "myocardial infarction, the cardiologist by the name of the data",
        {
            "history": ["Cardiology consultation"],
            "diagnoses": ["410.71"],
            "past_history": ["hypertension requiring treatment"],
            "age": 69.0,
            "unit": "Cardiac ICU",
        },
    ),
    (
        "asked once before, not now: rehabilitation",
        {
            "history": ["physical therapy", "occupational therapy"],
            "present": [],
            "age": 82.0,
            "sex": "female",
        },
    ),
    (
        "a doctor in Dublin, one of them visited twice",
        {
            "history": ["physical therapy"],
            "service": "doctor",
            "latitude": 53.3498,
            "longitude": -6.2603,
            "at": "2026-12-01T10:30:00Z",
            "visits": [
                {"place": "ie-10191", "date": "2026-03-02"},
                {"place": "ie-10191", "date": "2026-09-14"},
                {"place": "ie-99999", "date": "2025-01-07"},
            ],
        },
    ),
    (
        "latitude and longitude exchanged: no place is near",
        {"service": "hospital", "latitude": -2.9779, "longitude": 53.4108},
    ),
    (
        "a pharmacy in Middlesbrough and nothing of the patient",
        {"service": "pharmacy", "latitude": 54.574, "longitude": -1.235},
    ),
    ("services alone", {"history": ["nephrology", "infectious disease", "pulmonary"]}),
    (
        "nothing that the model knows: it abstains",
        {"history": ["acupuncture"], "diagnoses": ["B60.1"], "age": 40.0, "sex": "female"},
    ),
]
