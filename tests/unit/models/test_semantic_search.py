"""Search in a collection: what is found and shown, when nothing is, and the command that makes such a bundle."""

import contextlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from models.bundle import bundle_files, fitted, read_bundle, seal_bundle
from models.checking import check_bundle
from models.pipelines import Case, InputRejected, load_pipeline
from models.pipelines.semantic_search import SemanticSearch
from models.sandbox import CpuRun
from service.cli import main
from service.cli.exits import ExitCode
from tests.unit.models.example_bundles import manifest
from tests.unit.models.example_encoder import write_encoder

NOTES = """id,title,text,link
n1,First,No fever. No pain.,http://example.org/1
n2,,Cough. Cough. Rest.,
n3,Third,Fever rest fever rest fever rest fever. Pain pain pain pain pain pain pain pain pain pain. Caf\u00e9.,
n4,,Caf\u00e9 rest caf\u00e9 rest.,
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a bundle made of NOTES by the command."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "notes.csv").write_text(NOTES)
    status, told = command(folder, "--url", "link", "--about", "Search in notes", "--license", "CC0-1.0")
    assert status == ExitCode.OK, told
    assert (told["documents"], told["passages"]) == (4, 5)
    return folder / "bundle"


def command(folder: Path, *options: str, notes: str = "notes.csv", name: str = "my-notes") -> tuple[int, Any]:
    """Status and answer of `medqueue models index`."""

    source = folder / "encoder"
    if not source.exists():
        write_encoder(source)
    arguments = ["--from", str(source), "--name", name, "--into", str(folder / "bundle"), *options, "--json"]
    written = io.StringIO()
    with contextlib.redirect_stdout(written):
        status = main(["models", "index", str(folder / notes), *arguments])
    return status, json.loads(written.getvalue() or "null")


def search(folder: Path, *questions: str, **options: Any) -> list[dict[str, Any]]:
    bundle = read_bundle(folder)
    pipeline = load_pipeline(bundle.manifest)
    cases = [Case(pipeline.encode({"text": each}), pipeline.check_options(options)) for each in questions]
    run = fitted(folder, bundle.manifest, pipeline, CpuRun())
    return [each.result for each in pipeline.open(folder).score(run, cases)]


def ids(result: dict[str, Any]) -> list[str]:
    return [hit["id"] for hit in result["hits"]]


def test_the_command_makes_a_bundle_that_is_publishable(made: Path) -> None:
    assert check_bundle(made) == []
    bundle = read_bundle(made)
    assert (bundle.manifest.name, bundle.manifest.license) == ("my-notes", "CC0-1.0")
    assert "not a medical device" in bundle.card
    assert "unencrypted" in bundle.card


def test_golden_cases_and_card_of_a_made_bundle_quote_no_document(made: Path) -> None:
    for name in ("golden.json", "CARD.md", "manifest.toml"):
        assert "fever rest" not in (made / name).read_text().lower()
        assert "http://example.org/1" not in (made / name).read_text()


def test_the_best_passages_are_found(made: Path) -> None:
    [result] = search(made, "pain")
    assert ids(result)[0] == "n3"
    first = result["hits"][0]
    assert first["text"] == "Pain pain pain pain pain pain pain pain pain pain. Caf\u00e9."
    assert NOTES.count(first["text"]) == 1
    assert (first["rank"], first["title"], first["url"]) == (1, "Third", None)
    assert first["start"] == len("Fever rest fever rest fever rest fever. ")
    assert first["similarity"] == pytest.approx(result["best_similarity"], abs=1e-5)
    assert [hit["rank"] for hit in result["hits"]] == [1, 2, 3, 4]
    assert (result["exact"], result["documents"], result["abstained"]) == (True, 4, False)


def test_options_limit_the_answer_and_search_exactly(made: Path) -> None:
    [result] = search(made, "cough", limit=1, exact=True)
    assert ids(result) == ["n2"]
    assert result["exact"] is True
    whole, near = search(made, "cough", exact=True), search(made, "cough")
    assert ids(whole[0]) == ids(near[0])


def test_a_manifest_with_cells_to_look_into_makes_searches_approximate(made: Path) -> None:
    run = fitted(made, read_bundle(made).manifest, with_parameters(made), CpuRun())
    for probes, options, exact in ((0, {}, True), (1, {}, False), (1, {"exact": True}, True)):
        pipeline = with_parameters(made, probes=probes)
        case = Case(pipeline.encode({"text": "cough"}), pipeline.check_options(options))
        [answer] = pipeline.open(made).score(run, [case])
        assert answer.result["exact"] is exact


@pytest.mark.parametrize(("rows", "compared"), [(4095, "all passages"), (4096, "nearest cells of the index")])
def test_passages_of_a_small_collection_are_all_compared(tmp_path: Path, rows: int, compared: str) -> None:
    words = ("fever", "cough", "pain", "rest", "no")
    notes = "\n".join(" ".join(words[row // 5**place % 5] for place in range(6)) for row in range(rows))
    (tmp_path / "many.csv").write_text(f"text\n{notes}\n")
    status, told = command(tmp_path, "--license", "CC0-1.0", notes="many.csv")
    assert (status, told["passages"]) == (ExitCode.OK, rows)
    manifest = read_bundle(tmp_path / "bundle").manifest
    assert (manifest.parameters["probes"] == 0) == (compared == "all passages")
    assert compared in " ".join((tmp_path / "bundle" / "CARD.md").read_text().split())


@pytest.mark.parametrize("options", [{"limit": 0}, {"limit": 101}, {"exact": 1}, {"top": 3}])
def test_options_out_of_range_are_refused(made: Path, options: dict[str, Any]) -> None:
    with pytest.raises(InputRejected):
        search(made, "cough", **options)


def test_an_answer_does_not_depend_on_the_questions_beside_it(made: Path) -> None:
    questions = ["pain", "no fever", "cough " * 20, "caf\u00e9"]
    alone = [search(made, each)[0] for each in questions]
    assert search(made, *questions) == alone
    assert search(made, *questions[::-1]) == alone[::-1]


def with_parameters(made: Path, **parameters: Any) -> SemanticSearch:
    table = read_bundle(made).manifest.parameters
    pipeline = load_pipeline(manifest("semantic-search", **{**table, **parameters}))
    assert isinstance(pipeline, SemanticSearch)
    return pipeline


def test_a_question_that_nothing_is_about_is_not_answered(made: Path) -> None:
    relevance = {
        "limit": 0.99, "false_alarm_rate": 0.1, "catch_rate": 0.9, "foreign_set": "made up", "source": "made up",
    }  # fmt: skip
    strict = with_parameters(made, relevance=relevance)
    run = fitted(made, read_bundle(made).manifest, strict, CpuRun())
    [answer] = strict.open(made).score(run, [Case(strict.encode({"text": "no cough fever"}))])
    assert (answer.result["hits"], answer.result["abstained"]) == ([], True)
    assert answer.result["abstain_reason"] == "no passage of the collection is about this"
    assert 0 < float(str(answer.result["best_similarity"])) < 0.99


def test_whether_it_abstains_does_not_depend_on_the_limit(made: Path) -> None:
    [one], [all_of_them] = search(made, "no fever", limit=1), search(made, "no fever", limit=4)
    assert one["best_similarity"] == all_of_them["best_similarity"]


def test_a_question_that_was_not_read_to_its_end_is_not_answered(made: Path) -> None:
    [result] = search(made, "no " * 60)
    assert (result["hits"], result["truncated"], result["abstain_reason"]) == (
        [],
        True,
        "longer than the model reads",
    )


def test_words_in_common_count_if_the_manifest_says_so(made: Path) -> None:
    run = fitted(made, read_bundle(made).manifest, with_parameters(made), CpuRun())
    scores: list[float] = []
    for lexical in (0.0, 0.5):
        pipeline = with_parameters(made, lexical=lexical)
        [answer] = pipeline.open(made).score(run, [Case(pipeline.encode({"text": "cough"}))])
        hits: Any = answer.result["hits"]
        scores.append(hits[0]["score"])
    assert scores[1] == pytest.approx(scores[0] + 0.5, abs=1e-5)


def test_a_bundle_whose_index_is_damaged_is_refused(made: Path, tmp_path: Path) -> None:

    copied = tmp_path / "copied"
    shutil.copytree(made, copied)
    vectors = copied / "index" / "vectors.npy"
    vectors.write_bytes(vectors.read_bytes()[:-1])
    seal_bundle(copied)
    assert [(fault.place, fault.code) for fault in check_bundle(copied)] == [
        ("index/vectors.npy", "index_unusable")
    ]


def test_the_command_names_the_lines_of_a_bad_file(tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_text("id,text\nn1,fever\nn2,\nn1,cough\n")
    status, told = command(tmp_path)
    assert status == ExitCode.FAILED
    assert [fault["line"] for fault in told["faults"]] == [3, 4]
    assert not (tmp_path / "bundle").exists()


def test_the_command_refuses_a_text_without_a_known_token(tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_text("id,text\nn1,fever\nn2,\u0301a\n")
    write_encoder(tmp_path / "encoder")
    status, _ = command(tmp_path)
    assert status == ExitCode.OK


def test_the_command_refuses_a_model_without_an_encoder_and_a_bad_name(tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_text("text\nfever\n")
    status, told = command(tmp_path, name="My Notes")
    assert (status, told["faults"][0]["code"]) == (ExitCode.FAILED, "manifest_invalid")
    status, told = command(tmp_path, "--from", "breast-cancer-wisconsin")
    assert (status, told["faults"][0]["code"]) == (ExitCode.FAILED, "no_encoder")
    assert "manifest.toml" not in set(bundle_files(tmp_path))
