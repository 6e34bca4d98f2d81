"""Train health-question-search.

Sources: MedQuAD (Ben Abacha and Demner-Fushman, BMC Bioinformatics 20:511, 2019, CC BY 4.0): questions and answers of pages
of the NIH, and consumers' questions with judged answers (LiveQA). For measuring alone: MTS-Dialog (Ben Abacha et al., EACL
2023, CC BY 4.0) and the French thesaurus of drug interactions (ANSM). The folder of the data holds `medquad`, `mts_dialog` and
`drug_interactions`. The encoder is all-MiniLM-L6-v2 (Apache-2.0; see models/training/wheels.py).

About 15 minutes on two cores, nearly all of it encoding; vectors are kept in a temporary folder, so that a run that was
interrupted goes on. Questions of MedQuAD are made from templates, so documents are searched by the text of the answer alone. A
focus (a disease, say) is whole in one part: a tenth is kept apart for the figures, a tenth chooses the weight of BM25 and the
limits, and the rest fits the linear map behind the encoder.
"""

import json
import shutil
import tempfile
import tomllib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F  # noqa: N812  # the field's usual name

from models.pipelines.search_index import SearchIndex
from models.pipelines.semantic_search import SearchParameters
from models.training.collections import Collection, Encoding, projected
from models.training.encoders import write_tokenizer
from models.training.export import parity
from models.training.figures import interval
from models.training.health_questions import (
    APART,
    CHOOSING,
    Asked,
    foreign_sets,
    read_liveqa,
    read_medquad,
    read_notes,
)
from models.training.ranking import Questions, WordIndex, ndcg, recall
from models.training.sentence_graph import write_sentence_graph
from models.training.wheels import minilm
from models.training.writing import write_report

Floats = NDArray[np.float64]

HERE = Path(__file__).resolve().parent
KEPT = Path(tempfile.gettempdir()) / "health-question-search"
SEED = 20261128
EPOCHS, BATCH, RATE, SHARPNESS, TIE = 15, 1024, 1e-3, 20.0, 3.0
WEIGHTS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4)  # of BM25
COST = 0.005
PROBES = (8, 12, 16, 24, 32, 48, 64, 96, 128)
RECALL = 0.985
CAUGHT = 0.85  # of foreign texts in English that choose the limit, at least
SOME = 600  # questions of a tenth, at most, where the whole collection is searched
FOREIGN_SET = "everyday questions and sentences of the manual of Python, none of which chose the limit"
GOLDEN = (
    ("symptoms of a disease", "What are the first signs of Parkinson disease?"),
    ("inheritance", "If I carry the gene for cystic fibrosis, will my children get it?"),
    ("treatment, as people write", "my father has gout in his big toe, what helps against the pain and what should he eat"),
    ("prevention", "How can I lower my risk of a second stroke?"),
    ("a rare disease", "Is there a cure for Alagille syndrome?"),
    ("diagnosis", "Which tests show that someone has celiac disease?"),
    ("two words", "kidney stones"),
    ("small letters and an accent", "caf\u00e9 au lait spots on the skin of a baby"),
    ("a question about nothing medical, from which it abstains", "How do I change the tyre of a bicycle?"),
    ("another language, from which it abstains", "Welche Stra\u00dfenbahn f\u00e4hrt heute Abend zum Bahnhof?"),
)  # fmt: skip


def template_parameters() -> SearchParameters:
    """The parameters of the manifest's template, with a 1 in place of each figure."""
    figures = defaultdict(lambda: "1", metrics="")
    table = tomllib.loads(Template((HERE / "manifest.template.toml").read_text()).substitute(figures))
    return SearchParameters.model_validate(table["parameters"])


def train(data: Path) -> None:
    """Write everything of the bundle that comes from the data, except for what `models seal` adds."""
    source, most_tokens = minilm(), template_parameters().max_tokens
    write_tokenizer({**source.tokenizer, "truncation": None, "padding": None}, HERE / "tokenizer.json")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_sentence_graph(source, work / "base.onnx", most_tokens)
        encoding = Encoding(work / "base.onnx", HERE, template_parameters(), KEPT)
        documents, asked = read_medquad(data / "medquad")
        plain = encoding.collection(documents)
        read, vectors = encoding.texts([each.text for each in asked])
        projection = projection_for(asked, vectors, plain)
        write_sentence_graph(source, HERE / "model.onnx", most_tokens, projection)
        questions, collection = Questions(projected(vectors, projection), read), plain.moved(projection)
        report: dict[str, object] = {"documents": len(documents), "passages": len(plain.passages.places)}
        report |= chosen_weight(collection, asked, questions, work)
        weight = report["weight"]
        assert isinstance(weight, float)
        report |= figures_apart(collection, asked, questions, work, weight)
        report |= other_figures(data, encoding, projection, work, weight)
        shutil.rmtree(HERE / "index", ignore_errors=True)
        whole = collection.written(HERE)
        report |= approximation(whole, asked, questions, weight)
        sets = {
            **foreign_sets(data / "drug_interactions"),
            "liveqa": [text for text, _ in read_liveqa(data / "medquad")[1]],
        }
        vectors_of = {name: projected(encoding.texts(texts)[1], projection) for name, texts in sets.items()}
        apart = questions.part(of_tenth(asked, APART)[:SOME]).vectors
        report |= relevance(whole, vectors_of | {"medquad": apart})
    report |= {"parity": checked_parity(questions), "seed": SEED}
    write_report(HERE, report, foreign_set=FOREIGN_SET, questions_some=SOME, by_source=by_source(report))
    write_cases()


def by_source(report: dict[str, Any]) -> str:
    """The figures by source in words."""
    counts = report["questions_by_source"]
    return ", ".join(
        f"{name} {figure:.4f} ({counts[name]} questions)" for name, figure in report["ndcg_by_source"].items()
    )


def of_tenth(asked: Sequence[Asked], tenth: int) -> list[int]:
    """The questions about one tenth of the focuses, by number."""
    return [row for row, each in enumerate(asked) if each.tenth == tenth]


def projection_for(asked: Sequence[Asked], vectors: Floats, collection: Collection) -> NDArray[np.float32]:
    """The map fitted to questions that are neither kept apart nor choose; an answer stands for its nearest passage."""
    owners = np.array([document for document, _, _ in collection.passages.places])
    firsts = np.searchsorted(owners, np.arange(owners[-1] + 2))
    rows, nearest = [], []
    for row, question in enumerate(asked):
        if question.tenth not in {APART, CHOOSING}:
            for answer in sorted(question.answers):
                own = collection.vectors[firsts[answer] : firsts[answer + 1]]
                rows.append(row)
                nearest.append(firsts[answer] + np.argmax(own @ vectors[row]))
    return fitted_projection(vectors[rows], collection.vectors[nearest], [asked[row].focus for row in rows])


def fitted_projection(questions: Floats, answers: Floats, focuses: Sequence[str]) -> NDArray[np.float32]:
    """The linear map [D,D] behind the encoder that brings questions near their answers, and away from others of the batch.

    Cross-entropy of cosines both ways (van den Oord et al. 2018, InfoNCE). Batches hold all answers about a focus, so that
    the kind of question has to be told apart; the map is held near the identity.
    """
    torch.manual_seed(SEED)
    asked, told = torch.from_numpy(questions).float(), torch.from_numpy(answers).float()
    alike = torch.from_numpy(np.unique(answers.round(6), axis=0, return_inverse=True)[1].reshape(-1))
    groups = np.unique(focuses, return_inverse=True)[1]
    projection = torch.eye(asked.shape[1], requires_grad=True)
    optimiser = torch.optim.Adam([projection], RATE)
    chance = np.random.default_rng(SEED)
    for _ in range(EPOCHS):
        order = torch.from_numpy(np.argsort(chance.permutation(groups.max() + 1)[groups], kind="stable"))
        for rows in order.split(BATCH):
            first, second = (F.normalize(part[rows] @ projection) for part in (asked, told))
            same = (alike[rows][:, None] == alike[rows]) & ~torch.eye(len(rows), dtype=torch.bool)
            scores = (SHARPNESS * first @ second.T).masked_fill(same, -1e4)
            target = torch.arange(len(rows))
            loss = F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)
            loss = loss + TIE * (projection - torch.eye(len(projection))).pow(2).mean() * len(projection)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimiser.step()
    found: NDArray[np.float32] = projection.detach().numpy()
    return found


class Part:
    """The questions about one tenth of the focuses, and an index of their answers alone."""

    def __init__(
        self, collection: Collection, asked: Sequence[Asked], questions: Questions, tenth: int, folder: Path
    ) -> None:
        rows = of_tenth(asked, tenth)
        self.asked, self.questions = [asked[row] for row in rows], questions.part(rows)
        numbers = sorted(set().union(*(each.answers for each in self.asked)))
        self._places = {number: place for place, number in enumerate(numbers)}
        self.texts = [collection.documents[number].text for number in numbers]
        self._index = collection.written(folder, numbers)

    def served(self, weight: float) -> Floats:
        """nDCG@10 of each question by the code that serves."""
        return self.figures(self.questions.ranked(self._index, lexical=weight))

    def figures(self, found: Sequence[Sequence[int]]) -> Floats:
        """nDCG@10 of each question."""
        gains = [dict.fromkeys((self._places[answer] for answer in each.answers), 1.0) for each in self.asked]
        return np.array([ndcg(*each) for each in zip(found, gains, strict=True)])


def chosen_weight(
    collection: Collection, asked: Sequence[Asked], questions: Questions, work: Path
) -> dict[str, object]:
    """The greatest weight of BM25 that costs at most COST of nDCG@10: words help where nothing was fitted."""
    part = Part(collection, asked, questions, CHOOSING, work / "choosing")
    means = {weight: float(part.served(weight).mean()) for weight in WEIGHTS}
    best = max(means.values())
    return {
        "weight": max(weight for weight, mean in means.items() if mean >= best - COST),
        "ndcg_by_weight": {f"{weight:.2f}".replace(".", "_"): mean for weight, mean in means.items()},
    }


def figures_apart(
    collection: Collection, asked: Sequence[Asked], questions: Questions, work: Path, weight: float
) -> dict[str, object]:
    """nDCG@10 of questions kept apart, among the answers to them, beside BM25."""
    part = Part(collection, asked, questions, APART, work / "apart")
    values = part.served(weight)
    words = part.figures(WordIndex(part.texts).ranked([each.text for each in part.asked]))
    focuses, sources = [each.focus for each in part.asked], np.array([each.source for each in part.asked])
    return {
        "questions": len(part.asked), "answers": len(part.texts), "focuses": len(set(focuses)),
        **with_interval("ndcg", values, focuses), **with_interval("ndcg_bm25", words, focuses),
        "ndcg_without_words": part.served(0.0).mean(),
        "ndcg_by_source": {each: values[sources == each].mean() for each in sorted(set(sources))},
        "questions_by_source": {each: int((sources == each).sum()) for each in sorted(set(sources))},
    }  # fmt: skip


def with_interval(name: str, values: Floats, groups: Sequence[object] | int) -> dict[str, object]:
    """A mean, and its 95 % interval."""
    spread = interval(lambda rows: float(values[rows].mean()), groups, seed=SEED)
    return {name: values.mean(), f"{name}_95": spread}


def other_figures(
    data: Path, encoding: Encoding, projection: NDArray[np.float32], work: Path, weight: float
) -> dict[str, object]:
    """nDCG@10 where nothing was fitted: notes by the dialogues they were written from, and consumers' questions.

    The gain of a judged answer is 2 to the power of its grade, less 1 (Burges et al., ICML 2005).
    """
    notes, dialogues = read_notes(data / "mts_dialog")
    answers, judged = read_liveqa(data / "medquad")
    graded = [{place: 2.0**grade - 1 for place, grade in grades.items()} for _, grades in judged]
    report: dict[str, object] = {}
    for name, documents, texts, gains in (
        ("notes", notes, dialogues, [{place: 1.0} for place in range(len(notes))]),
        ("liveqa", answers, [text for text, _ in judged], graded),
    ):
        plain, (read, vectors) = encoding.collection(documents), encoding.texts(texts)

        def mean_of(found: Sequence[Sequence[int]], gains: Sequence[dict[int, float]] = gains) -> Floats:
            return np.array([ndcg(*each) for each in zip(found, gains, strict=True)])

        index = plain.moved(projection).written(work / name)
        values = mean_of(Questions(projected(vectors, projection), read).ranked(index, lexical=weight))
        unfitted = mean_of(
            Questions(vectors, read).ranked(plain.written(work / f"{name}_plain"), lexical=weight)
        )
        words = mean_of(WordIndex([each.text for each in documents]).ranked(texts))
        report |= with_interval(f"ndcg_{name}", values, len(values))
        report |= {f"ndcg_{name}_bm25": words.mean(), f"ndcg_{name}_without_map": unfitted.mean()}
        report |= {f"{name}_documents": len(documents), f"{name}_questions": len(texts)}
    return report


def approximation(
    index: SearchIndex, asked: Sequence[Asked], questions: Questions, weight: float
) -> dict[str, object]:
    """The cells to look into so that questions that choose find RECALL of the exact ten, and what others then find."""
    choosing = questions.part(of_tenth(asked, CHOOSING)[:SOME])
    exact = choosing.ranked(index, lexical=weight)
    for probes in PROBES:
        if recall(choosing.ranked(index, lexical=weight, probes=probes), exact) >= RECALL:
            break
    rows = of_tenth(asked, APART)[:SOME]
    apart = questions.part(rows)
    near = apart.ranked(index, lexical=weight, probes=probes)
    gains = [dict.fromkeys(asked[row].answers, 1.0) for row in rows]
    return {
        "probes": probes,
        "recall": recall(near, apart.ranked(index, lexical=weight)),
        "ndcg_whole_collection": np.mean([ndcg(*each) for each in zip(near, gains, strict=True)]),
    }


def relevance(index: SearchIndex, vectors: dict[str, Floats]) -> dict[str, object]:
    """The lowest limit, in hundredths, that CAUGHT of every second foreign text in English is below, and its effect on others.

    No question of a person chooses it. `vectors` are those of the foreign sets, and of questions by `medquad` and `liveqa`.
    """
    best = {name: Questions(each, ()).similarities(index) for name, each in vectors.items()}
    choosing = np.concatenate([best["everyday"][::2], best["manual"][::2]])
    limit = next(each for each in np.arange(1, 100) / 100 if (choosing < each).mean() >= CAUGHT)
    others = {"everyday": best["everyday"][1::2], "manual": best["manual"][1::2], "french": best["french"]}
    english = np.concatenate([others["everyday"], others["manual"]])
    return {
        "limit": limit,
        "false_alarm_rate": (best["liveqa"] < limit).mean(),
        "false_alarm_rate_medquad": (best["medquad"] < limit).mean(),
        "catch_rate": (english < limit).mean(),
        "catch_rate_95": interval(
            lambda rows: float((english < limit)[rows].mean()), len(english), seed=SEED
        ),
        "caught": {name: (found < limit).mean() for name, found in others.items()},
        "foreign": {name: len(found) for name, found in others.items()},
    }


def checked_parity(questions: Questions) -> float:
    """The largest difference between the shipped graph and the vectors that were measured."""
    row = next(row for row, text in enumerate(questions.read) if len(text.windows) == 1)
    ids = np.array([questions.read[row].windows[0].ids], np.int64)
    feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    return parity(HERE / "model.onnx", feeds, {"vector": questions.vectors[[row]]})


def write_cases() -> None:
    """The inputs of golden.json; `models seal --golden` adds the answers."""
    options: list[dict[str, object]] = [{}, *[{"limit": 3}] * (len(GOLDEN) - 2), {"limit": 3, "exact": True}]
    cases = [
        {"note": note, "input": {"question": question}, "options": chosen, "expected": {}}
        for (note, question), chosen in zip(GOLDEN, options, strict=True)
    ]
    (HERE / "golden.json").write_text(json.dumps({"cases": cases}, indent=1, ensure_ascii=False) + "\n")
