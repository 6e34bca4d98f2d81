"""The names of consultants and services in the data: which are one and the same.

Of `care_providers`, specialties of rows that are "Consulting"; of `treatments`, the last part of names that end in "consult" or
"consultation". LEFT_OUT says nothing about whom to ask.
"""

# id: (display, specialties, last parts of treatments)
WRITTEN: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "anesthesiology": ("Anesthesiology", ("anesthesiology", "anesthesiology/CCM"), ()),
    "cardiac surgery": (
        "Cardiac and thoracic surgery",
        ("surgery-cardiac",),
        ("Cardiac surgery consultation", "Thoracic surgery consultation"),
    ),
    "cardiology": ("Cardiology", ("cardiology",), ("Cardiology consultation",)),
    "critical care": (
        "Critical care medicine",
        ("critical care medicine (CCM)", "pulmonary/CCM", "surgery-critical care"),
        ("Pulmonary/CCM consultation",),
    ),
    "discharge planning": ("Discharge planning", (), ("discharge planning consult",)),
    "emergency medicine": ("Emergency medicine", ("emergency medicine",), ()),
    "endocrinology": ("Endocrinology", ("endocrinology",), ("Endocrinology consultation",)),
    "family medicine": ("Family medicine", ("family practice",), ()),
    "gastroenterology": ("Gastroenterology", ("gastroenterology",), ("Gastroenterology consultation",)),
    "general surgery": (
        "General surgery",
        ("surgery-general",),
        ("Surgery consultation",),
    ),
    "hematology oncology": (
        "Hematology and oncology",
        ("hematology", "hematology/oncology", "oncology"),
        ("Hematology consultation", "oncology consultation"),
    ),
    "hospital medicine": ("Hospital medicine (hospitalist)", ("hospitalist",), ()),
    "infectious disease": (
        "Infectious disease", ("infectious disease",), ("Infectious Disease consultation",)
    ),
    "internal medicine": ("Internal medicine", ("internal medicine",), ("Medicine consultation",)),
    "interventional neuroradiology": ("Neuroradiology", (), ("Neuroradiology consultation",)),
    "nephrology": ("Nephrology", ("nephrology",), ("Nephrology consultation",)),
    "neurology": ("Neurology", ("neurology",), ("Neurology consultation",)),
    "neurosurgery": ("Neurosurgery", ("surgery-neuro",), ("Neurosurgery consultation",)),
    "obstetrics and gynecology": ("Obstetrics and gynecology", ("obstetrics/gynecology",), ()),
    "occupational therapy": ("Occupational therapy", (), ("occupational therapy consult",)),
    "ophthalmology": ("Ophthalmology", ("ophthalmology",), ()),
    "orthopedics": (
        "Orthopedics",
        ("orthopedics", "surgery-orthopedic"),
        ("Orthopedics consultation",),
    ),
    "otolaryngology": ("Otolaryngology", ("otolaryngology",), ()),
    "palliative care": ("Palliative care", (), ("palliative care consultation",)),
    "pastoral care": ("Pastoral care", (), ("pastoral services consult",)),
    "physical medicine": (
        "Physical medicine and rehabilitation",
        ("physical medicine/rehab",),
        ("Physical medicine consultation",),
    ),
    "physical therapy": ("Physical therapy", (), ("physical therapy consult",)),
    "plastic surgery": ("Plastic surgery", (), ("Plastic surgery consultation",)),
    "psychiatry": ("Psychiatry", ("psychiatry",), ("Psychiatry consultation",)),
    "pulmonology": ("Pulmonology", ("pulmonary",), ("Pulmonary medicine consultation",)),
    "radiology": ("Radiology", ("radiology",), ()),
    "social work": ("Social work", (), ("social work consult",)),
    "transplant surgery": (
        "Transplant surgery", ("surgery-transplant",), ("Transplant surgery consultation",)
    ),
    "trauma surgery": ("Trauma surgery", ("surgery-trauma",), ("Trauma surgery consultation",)),
    "urology": ("Urology", ("urology",), ("Urology consultation",)),
    "vascular surgery": ("Vascular surgery", ("surgery-vascular",), ("Vascular surgery consultation",)),
}  # fmt: skip
LEFT_OUT = frozenset(("", "unknown", "other", "nurse practitioner"))
