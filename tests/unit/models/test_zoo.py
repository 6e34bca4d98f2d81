"""The models that come with medqueue: publishable as they lie, and true to what they say of themselves."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.bundle import Bundle, bundled, fitted, graph_files, read_bundle, side_files
from models.bundled_page import PAGE, PICTURES, bundled_page, pictures
from models.checking import publishable
from models.difference import difference
from models.golden_cases import as_sent, encode_cases
from models.pipelines import Answer, Case, PartKind, Pipeline, load_pipeline
from models.pipelines.artifacts import LISTING
from models.pipelines.contract import InputRejected, NeedsExtra
from models.pipelines.parts import take_apart
from models.pipelines.registry import NEEDING_EXTRAS
from models.sandbox import CpuRun
from service.catalog import PublishedModel
from service.cli import model_tables
from tests.unit.models.schemas import assert_fits

DOCS = Path(__file__).parents[3] / "docs"
PICTURE_BYTES = 20_000
MOST_BYTES = 20_000_000  # of a file that a caller sends
ZOO_BYTES = {
    "diagnosis": 100_000_000,
    "recommendation": 5_000_000,
    "generation": 10_000_000,
}  # a clone holds them all
# What the tables of parameters repeat of metrics.json, and the limits that a card names.
STATED = {
    "threshold": ("sensitivity", "specificity", "ppv", "prevalence"),
    "novelty": ("limit", "false_alarm_rate", "catch_rate"),
    "completeness": ("false_alarm_rate", "catch_rate"),
}
LIMITS = {"threshold": ("value",), "abstain": ("upper",), "novelty": ("limit",)}


@pytest.fixture(scope="module", params=bundled(), ids=lambda folder: folder.name)
def folder(request: pytest.FixtureRequest) -> Path:
    """A bundled model: all tests of one run after each other, and share what is read of it."""
    found: Path = request.param
    return found


read = lru_cache(maxsize=1)(read_bundle)


@lru_cache(maxsize=1)
def loaded(folder: Path) -> Pipeline:
    """The pipeline of a bundled model."""
    return load_pipeline(read(folder).manifest, side_files(folder))


@lru_cache(maxsize=1)
def opened(folder: Path) -> Callable[[Sequence[Case]], list[Answer]]:
    """What scores cases of a bundled model."""
    run = fitted(folder, read(folder).manifest, loaded(folder), CpuRun())
    return partial(loaded(folder).open(folder).score, run)


def metrics(bundle: Bundle) -> dict[str, Any]:
    """metrics.json as written by train.py."""
    table: dict[str, Any] = json.loads((bundle.folder / "metrics.json").read_text())
    return table


def leaves(value: Any) -> list[Any]:
    """Every number and text in nested tables."""
    if isinstance(value, dict):
        return [leaf for part in value.values() for leaf in leaves(part)]
    if isinstance(value, list):
        return [leaf for part in value for leaf in leaves(part)]
    return [value]


@lru_cache(maxsize=1)
def scored_alone(
    folder: Path,
) -> tuple[Callable[[Sequence[Case]], list[Answer]], Sequence[Case], list[dict[str, object]], float]:
    """What scores cases of a bundled model, its golden cases, what each is answered alone, and the tolerance."""
    bundle, score = read(folder), opened(folder)
    cases = encode_cases(bundle.golden, loaded(folder))
    alone = [score([case])[0].result for case in cases]
    return score, cases, alone, bundle.manifest.runtime.tolerance


def answers(name: str, *inputs: object) -> list[dict[str, Any]]:
    """What a bundled model answers to inputs in one batch."""
    [folder] = [folder for folder in bundled() if folder.name == name]
    cases = [Case(loaded(folder).encode(value)) for value in inputs]
    return [dict(scored.result) for scored in opened(folder)(cases)]


def test_the_models_the_readme_speaks_of_are_there() -> None:
    assert {"breast-cancer-wisconsin", "pneumonia-xray-28"} <= {folder.name for folder in bundled()}


def test_a_start_knows_whether_a_bundled_model_needs_an_extra(folder: Path) -> None:
    manifest = read(folder).manifest
    pipeline = loaded(folder)
    assert isinstance(pipeline, NeedsExtra) == (manifest.pipeline in NEEDING_EXTRAS)


def test_a_bundled_model_is_publishable(folder: Path) -> None:
    bundle = publishable(folder)
    assert bundle.manifest.name == folder.name
    assert len(bundle.golden) >= 8


@pytest.mark.parametrize("kind", ZOO_BYTES)
def test_graphs_and_side_files_of_all_bundled_models_stay_small(kind: str) -> None:
    bundles = [bundle for bundle in map(read_bundle, bundled()) if bundle.manifest.kind == kind]
    sizes = {bundle.manifest.name: size_bytes(bundle) for bundle in bundles}
    assert sum(sizes.values()) < ZOO_BYTES[kind], sizes


def size_bytes(bundle: Bundle) -> int:
    """Size of graphs and side files."""
    graphs = [bundle.folder / path for path in graph_files(bundle.manifest)]
    return bundle.side_bytes + sum(path.stat().st_size for path in graphs)


def test_a_graph_tells_no_path_of_the_machine_that_made_it(folder: Path) -> None:
    for path in read(folder).graph_paths.values():
        assert not re.search(rb"\.py\b|stack_trace|/home/|/root/", path.read_bytes())


def test_golden_cases_show_every_label_or_eight_of_many(folder: Path) -> None:
    bundle = read(folder)
    shown = {each for each in leaves([case.expected for case in bundle.golden]) if isinstance(each, str)}
    labels = {label.id for label in loaded(folder).labels()}
    assert len(labels & shown) >= min(len(labels), 8)  # of many, some are too rare to be answered


def test_golden_inputs_and_results_fit_the_published_schemas(folder: Path) -> None:
    bundle = read(folder)
    pipeline = loaded(folder)
    results = {
        name: {"job": str(UUID(int=1))}
        for name, part in pipeline.parts.items()
        if part.kind is PartKind.RESULT
    }
    takes, answers = pipeline.input_schema(), pipeline.result_schema()
    for case in bundle.golden:
        sent = (
            {name: results.get(name, value) for name, value in case.input.items()} if results else case.input
        )
        assert_fits(sent, takes)
        assert_fits({name: value for name, value in case.expected.items() if name != LISTING}, answers)


@given(choice=st.data())
@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow])
def test_a_row_is_scored_alike_in_any_company_and_order(folder: Path, choice: st.DataObject) -> None:
    score, cases, alone, tolerance = scored_alone(folder)
    order = choice.draw(st.lists(st.integers(0, len(cases) - 1), min_size=1, max_size=24))
    batched = score([cases[place] for place in order])
    for row, place in enumerate(order):
        assert difference(alone[place], batched[row].result, tolerance) is None


def test_the_example_that_is_shown_of_an_input_is_answered(folder: Path) -> None:
    bundle = read(folder)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    model = PublishedModel(UUID(int=1), bundle.manifest, bundle.digest, bundle.card, at, side_files(folder))
    example, _ = take_apart(model_tables.example(model.input_schema(MOST_BYTES)), model.pipeline.parts)
    payload = model.encode(as_sent(example, model.pipeline))
    parts = encode_cases(bundle.golden[:1], model.pipeline)[0].parts
    [answer] = opened(folder)([Case(payload, parts=parts)])
    assert answer.result.get("abstained") is not True, answer.result.get("abstain_reason")


def tables(parameters: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Those parameters that are tables: a pipeline may have a number of the name that another has a table of."""
    return {name: each for name, each in parameters.items() if isinstance(each, dict)}


def test_every_figure_of_the_manifest_is_one_that_training_wrote(folder: Path) -> None:
    bundle = read(folder)
    written = leaves(metrics(bundle))
    for name, figure in bundle.manifest.metrics.items():
        assert isinstance(figure, str) or figure in written, name
    parameters = tables(bundle.manifest.parameters)
    stated = {
        name: parameters[table][name]
        for table, names in STATED.items()
        if table in parameters
        for name in names
    }
    assert {name: figure for name, figure in stated.items() if figure not in written} == {}


def test_a_card_says_what_the_model_is_not_and_names_threshold_and_licence(folder: Path) -> None:
    bundle = read(folder)
    words = " ".join(bundle.card.split())
    assert bundle.card.startswith(f"# {bundle.manifest.name} {bundle.manifest.version}\n")
    assert "not a medical device" in words.lower()
    assert bundle.manifest.license.replace("-", " ") in words.replace("-", " ")
    for table, names in LIMITS.items():
        for name in names:
            limit = tables(bundle.manifest.parameters).get(table, {}).get(name)
            assert limit is None or str(limit) in words, name


def test_a_figure_of_a_card_is_one_that_training_wrote(folder: Path) -> None:
    bundle = read(folder)
    _, _, after = bundle.card.partition("## Figures")
    figures = re.findall(r"(?<![\d.])-?\d+\.\d{3,}", after.partition("## ")[0])
    assert figures, "a card states figures"
    written = [each for each in leaves(metrics(bundle)) if isinstance(each, float)]
    strange = [each for each in figures if float(each) not in {round(one, len(each) - 2) for one in written}]
    assert strange == []


@pytest.mark.parametrize(
    "smiles",
    [
        "[K+].[C-]#N",
        "ClC(Cl)=O",
        "C[n+]1ccc(cc1)-c1cc[n+](C)cc1.[Cl-].[Cl-]",
        "ClCCSCCCl",
        "CCOP(=O)(C#N)N(C)C",
        "[Na+].[O-]C(=O)CF",
        "CC(C)OP(C)(=O)F",
        "CC(C(C)(C)C)OP(C)(=O)F",
        "CCOP(C)(=O)SCCN(C(C)C)C(C)C",
        "CN(CCCl)CCCl",
        "CCOP(=S)(OCC)Oc1ccc(cc1)[N+](=O)[O-]",
        "C#N",
        "CCCCCC",
        "c1ccccc1",
        "ClC(Cl)(Cl)C(c1ccc(Cl)cc1)c1ccc(Cl)cc1",
        "CN(C)N=O",
        "CNC(=O)ON=CC(C)(C)SC",
        "Oc1ccccc1",
        "Cc1ccccc1O",
        "Oc1ccccc1O",
        "O=[N+]([O-])c1ccccc1",
    ],
    ids=[
        "cyanide", "phosgene", "paraquat", "mustard gas", "tabun", "fluoroacetate", "sarin", "soman", "VX",
        "mechlorethamine", "parathion", "hydrogen cyanide", "hexane", "benzene", "DDT", "nitrosodimethylamine",
        "aldicarb", "phenol", "cresol", "catechol", "nitrobenzene",
    ],
)  # fmt: skip
def test_no_known_poison_is_called_approved_or_not_toxic(smiles: str) -> None:
    pytest.importorskip("rdkit", reason="the extra `chem` is not installed")
    poison, drug = answers(
        "molecule-properties", {"smiles": smiles}, {"smiles": "C[NH+](C)CCC=C1c2ccccc2CCc2ccccc21.[Cl-]"}
    )
    tasks = ("fda_approved", "clinical_toxicity")
    assert [poison["tasks"][task]["label"] for task in tasks] == [None, None]
    assert [drug["tasks"][task]["label"] for task in tasks] == ["approved", "not toxic"]


def test_questions_match_the_same_in_either_order() -> None:
    [folder] = [folder for folder in bundled() if folder.name == "question-match"]
    bundle, pipeline, score = read(folder), loaded(folder), opened(folder)
    for case in encode_cases(bundle.golden, pipeline):
        value: Any = pipeline.decode(case.payload)
        turned = {"question_a": value["question_b"], "question_b": value["question_a"]}
        one, other = (score([each])[0] for each in (case, Case(pipeline.encode(turned))))
        assert difference(one.result, other.result, bundle.manifest.runtime.tolerance) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("糖尿病能吃苹果吗", "高血压能吃苹果吗"),
        ("1型糖尿病怎么治疗", "2型糖尿病怎么治疗"),
        ("血糖高怎么办", "血糖低怎么办"),
        ("孕妇能吃阿司匹林吗", "儿童能吃阿司匹林吗"),
        ("今天天气怎么样", "明天天气怎么样"),
    ],
)
def test_questions_that_differ_in_one_word_are_not_called_the_same(one: str, other: str) -> None:
    [result] = answers("question-match", {"question_a": one, "question_b": other})
    assert result["label"] in ("different", None)


def test_a_question_beside_itself_is_called_the_same() -> None:
    texts = ("糖尿病能吃苹果吗", "乙肝会遗传吗", "我父亲今年六十岁了有高血压吃药血压还是降不下来怎么办")
    results = answers("question-match", *({"question_a": text, "question_b": text} for text in texts))
    assert [result["label"] for result in results] == ["same"] * len(texts)


def test_short_english_texts_are_no_criteria_of_trials() -> None:
    texts = ("Flu?", "Age over 18", "no smoking", "aspirin 100 mg", "hello world")
    assert {
        result["label"] for result in answers("trial-criterion", *({"text": text} for text in texts))
    } == {None}


def test_a_question_in_english_is_refused_however_short() -> None:
    [folder] = [folder for folder in bundled() if folder.name == "question-match"]
    pipeline = load_pipeline(read(folder).manifest)
    with pytest.raises(InputRejected) as refused:
        pipeline.encode({"question_a": "Flu?", "question_b": "流感怎么治疗"})
    assert [fault.pointer for fault in refused.value.faults] == ["/question_a"]


def test_the_breast_cancer_card_repeats_every_figure() -> None:
    [folder] = [folder for folder in bundled() if folder.name == "breast-cancer-wisconsin"]
    bundle = read(folder)
    missing = [figure for figure in leaves(metrics(bundle)) if str(figure) not in bundle.card]
    assert missing == [bundle.manifest.metrics["protocol"]]
    assert bundle.manifest.metrics["auc_mean"] >= 0.99  # type: ignore[operator]  # a float in this manifest


def test_the_page_of_the_bundled_models_says_what_their_cards_say() -> None:
    written = (DOCS / PAGE).read_text()
    assert written == bundled_page(), "run `make models-page`"
    for folder in bundled():
        figures = read(folder).card.partition("## Figures\n")[2].partition("\n## ")[0]
        rows = [line for line in figures.splitlines() if line.startswith("| ")]
        assert rows
        assert all(row in written for row in rows)


def test_the_page_shows_the_figures_of_each_model_in_a_picture() -> None:
    folder = DOCS / PICTURES
    drawn = {file.name: file.read_text() for file in folder.iterdir()}
    assert drawn == pictures(), "run `make models-page`"
    assert {f"{folder.name}.svg" for folder in bundled()} == drawn.keys()
    assert max(len(picture.encode()) for picture in drawn.values()) < PICTURE_BYTES
    page = (DOCS / PAGE).read_text()
    assert all(f"]({PICTURES}/{name})" in page for name in drawn)
