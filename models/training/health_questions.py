"""What health-question-search is made of and measured with, as it is read from files."""

import csv
import gzip
import json
import re
import zlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from pydoc_data import topics

from models.search.documents import Document

UMLS = "http://terminology.hl7.org/CodeSystem/umls"
FOREIGN = 300  # sentences of each foreign set, at most
NOTES = 300  # of MTS-Dialog's training part, with all of its validation part
APART, CHOOSING = 0, 1  # tenths of the focuses: for the figures, and for choosing weights
EVERYDAY = (
    "What is the capital of Australia?|How do I change a bicycle tyre?|Who won the football world cup in 1998?"
    "|Which laptop should I buy for programming?|How long does it take to fly from Paris to Tokyo?"
    "|What is the best recipe for apple pie?|How do I renew my passport?|Why is the sky blue?"
    "|Who wrote Pride and Prejudice?|How can I improve my chess openings?"
    "|What time does the museum open on Sundays?|How do solar panels make electricity?"
    "|Is it cheaper to rent or to buy a house?|How do I train my dog to sit?"
    "|What does the red light on my router mean?|When was the Eiffel Tower built?"
    "|How many players are in a volleyball team?|What is the plural of ox?"
    "|How do I remove a scratch from my car?|Where can I park near the railway station?"
    "|What is the tallest mountain in Africa?|How do I write a cover letter?|Which plants grow well in shade?"
    "|How does a diesel engine work?|Who painted the Mona Lisa?|What is inflation?"
    "|How do I cancel my gym contract?|Which bank has the best savings rate?|How do I tie a bow tie?"
    "|What is a black hole?|How do I back up my phone?"
    "|What is the difference between a crocodile and an alligator?|How do I learn to play the guitar?"
    "|Which films won an Oscar last year?|How do I file my tax return?|What is the offside rule?"
    "|How do volcanoes erupt?|How do I get a stain out of a carpet?|Which train goes to the airport?"
    "|How do I sharpen a kitchen knife?"
)


@dataclass(frozen=True)
class Asked:
    """A question with the documents that answer it (by number), its tenth of the focuses, its focus, and its source."""

    text: str
    answers: frozenset[int]
    tenth: int
    focus: str
    source: str


def read_medquad(folder: Path) -> tuple[list[Document], list[Asked]]:
    """Answers as documents, and questions. Answers that are written alike are one document; if they are of
    several pages, it has neither title nor link nor codes.
    """
    with gzip.open(folder / "pairs.jsonl.gz", "rt", encoding="utf-8") as file:
        pairs = [json.loads(line) for line in file]
    alike = defaultdict(list)
    for pair in pairs:
        alike[pair["answer"]].append(pair)
    documents = [_document(text, found) for text, found in alike.items()]
    numbers = {text: number for number, text in enumerate(alike)}
    asked = defaultdict(list)
    for pair in pairs:
        asked[" ".join(pair["question"].split()).lower()].append(pair)
    questions = [
        Asked(
            found[0]["question"],
            frozenset(numbers[pair["answer"]] for pair in found),
            zlib.crc32(found[0]["focus"].lower().encode()) % 10,
            found[0]["focus"].lower(),
            found[0]["source"],
        )
        for found in asked.values()
    ]
    return documents, questions


def _document(text: str, pairs: list[dict[str, str]]) -> Document:
    first = pairs[0]
    if any(pair["url"] != first["url"] or pair["focus"] != first["focus"] for pair in pairs):
        return Document(first["id"], text)
    codes = tuple((UMLS, code) for code in first["cui"])
    return Document(first["id"], text, first["focus"], first["url"], codes)


def read_liveqa(folder: Path) -> tuple[list[Document], list[tuple[str, dict[int, int]]]]:
    """Judged answers as documents, and consumers' questions with the grades (0 to 3) of documents, by number."""
    with gzip.open(folder / "liveqa_answers.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    numbers = {row["answer_id"]: number for number, row in enumerate(rows)}
    documents = [
        Document(row["answer_id"], row["text"].partition("Answer:")[2].strip() or row["text"]) for row in rows
    ]
    grades: dict[str, dict[int, int]] = defaultdict(dict)
    with (folder / "liveqa_judgments.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if (number := numbers.get(row["answer_id"])) is not None:
                known = grades[f"TQ{row['question']}"]
                known[number] = max(known.get(number, 0), int(row["grade_0_to_3"]))
    lines = (folder / "liveqa_questions.jsonl").read_text(encoding="utf-8").splitlines()
    asked = [json.loads(line) for line in lines]
    return documents, [
        (each["message"], grades[each["qid"]]) for each in asked if any(grades[each["qid"]].values())
    ]


def read_notes(folder: Path) -> tuple[list[Document], list[str]]:
    """Notes as documents, and the dialogues that they were written from, in the same order."""
    documents, dialogues = [], []
    for part, most in (("Validation", None), ("Training", NOTES)):
        with (folder / f"MTS-Dialog-{part}Set.csv").open(encoding="utf-8", newline="") as file:
            for row in list(csv.DictReader(file))[:most]:
                documents.append(Document(f"{part}-{row['ID']}", row["section_text"]))
                dialogues.append(row["dialogue"])
    return documents, dialogues


def foreign_sets(folder: Path) -> dict[str, list[str]]:
    """Texts that the collection has nothing about, by the name of the set."""
    manual = " ".join(" ".join(topics.topics.values()).split())
    sentences = re.findall(r"[A-Z][a-z ,]{40,160}\.", manual)
    with (folder / "interactions_fr.csv").open(encoding="utf-8", newline="") as file:
        french = list(
            dict.fromkeys(row["mechanism"] for row in csv.DictReader(file) if len(row["mechanism"]) > 40)
        )
    return {
        "everyday": [each.strip() for each in EVERYDAY.split("|")],
        "manual": sentences[:FOREIGN],
        "french": french[:FOREIGN],
    }
