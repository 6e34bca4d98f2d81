"""Bundles on disk: read, sealed, and refused for every reason there is."""

import hashlib
import json
import os
import tomllib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from onnx import helper

from models.__main__ import main
from models.bundle import BundleRefused, bundle_bytes, file_digest, read_bundle, renew_golden, seal_bundle
from models.checking import check_bundle, publishable
from models.pipelines import Array
from models.sandbox import CpuRun
from tests.unit.models.example_bundles import graph, manifest_table, told, toml, write_bundle


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good, sealed bundle."""
    return write_bundle(tmp_path / "dose-effect")


def refusals(folder: Path) -> set[tuple[str, str]]:
    """(place, code) of every fault of the bundle in `folder`."""
    with pytest.raises(BundleRefused) as caught:
        publishable(folder, CpuRun())
    return told(caught.value.faults)


def test_a_good_bundle_is_publishable(folder: Path) -> None:
    bundle = publishable(folder)
    assert check_bundle(folder) == []
    assert bundle.manifest.name == "dose-effect"
    assert bundle.card.startswith("# dose-effect")
    assert bundle.model_path == folder / "model.onnx"
    assert bundle.side_bytes == 0
    assert bundle_bytes(folder) == sum(path.stat().st_size for path in folder.iterdir()) - (
        (folder / "manifest.toml").stat().st_size
    )
    assert len(bundle.golden) == 6
    assert set(bundle.file_digests) == {"manifest.toml", "CARD.md", "golden.json", "model.onnx"}


def edit(name: str, change: Callable[[str], str]) -> Callable[[Path], None]:
    """Changes the text of one file and leaves the seal as it was."""

    def apply(folder: Path) -> None:
        (folder / name).write_text(change((folder / name).read_text()))

    return apply


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def link(name: str) -> Callable[[Path], None]:
    """Puts a symbolic link to the same bytes in place of a file."""

    def apply(folder: Path) -> None:
        target = folder.parent / "elsewhere"
        (folder / name).rename(target)
        (folder / name).symlink_to(target)

    return apply


def link_folder(folder: Path) -> None:
    """Lists a side file that is reached through a linked folder."""
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "words.txt").write_text("x")
    (folder / "side").symlink_to(outside)
    text = (folder / "manifest.toml").read_text()
    (folder / "manifest.toml").write_text(text + f'"side/words.txt" = "sha256:{"0" * 64}"\n')


def make_pipe(folder: Path) -> None:
    (folder / "CARD.md").unlink()
    os.mkfifo(folder / "CARD.md")


def not_text(folder: Path) -> None:
    (folder / "CARD.md").write_bytes(b"\xff\xfe\xff")


def model(**changes: Any) -> Callable[[Path], None]:
    """Another graph, sealed, so that only the graph is at fault."""

    def apply(folder: Path) -> None:
        (folder / "model.onnx").write_bytes(graph(**changes).SerializeToString())
        seal_bundle(folder)

    return apply


def sealed(name: str, change: Callable[[str], str]) -> Callable[[Path], None]:
    """Changes the text of one file and seals again."""

    def apply(folder: Path) -> None:
        edit(name, change)(folder)
        seal_bundle(folder)

    return apply


def first_case(change: dict[str, Any]) -> Callable[[str], str]:
    def apply(text: str) -> str:
        table = json.loads(text)
        table["cases"][0] |= change
        return json.dumps(table)

    return apply


CUMULATIVE = [
    helper.make_node("Constant", [], ["axis"], value_int=0),
    helper.make_node("CumSum", ["logit", "axis"], ["mixed"]),
]


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        pytest.param(remove("manifest.toml"), {("manifest.toml", "file_missing")}, id="no manifest"),
        pytest.param(remove("CARD.md"), {("CARD.md", "file_missing")}, id="no card"),
        pytest.param(remove("golden.json"), {("golden.json", "file_missing")}, id="no golden cases"),
        pytest.param(remove("model.onnx"), {("model.onnx", "file_missing")}, id="no model"),
        pytest.param(make_pipe, {("CARD.md", "file_missing")}, id="a pipe"),
        pytest.param(not_text, {("CARD.md", "file_not_text")}, id="card is not text"),
        pytest.param(link("manifest.toml"), {("manifest.toml", "file_is_link")}, id="linked manifest"),
        pytest.param(link("model.onnx"), {("model.onnx", "file_is_link")}, id="linked model"),
        pytest.param(link_folder, {("side/words.txt", "file_is_link")}, id="linked folder"),
        pytest.param(sealed("CARD.md", lambda text: " \n"), {("CARD.md", "card_empty")}, id="empty card"),
        pytest.param(
            edit("CARD.md", lambda text: text + "!"), {("CARD.md", "digest_differs")}, id="changed card"
        ),
        pytest.param(
            lambda folder: (folder / "extra.bin").touch(),
            {("extra.bin", "file_not_listed")},
            id="unlisted file",
        ),
        pytest.param(
            edit("manifest.toml", lambda text: text.replace('"CARD.md"', '"../CARD.md"')),
            {("manifest.toml: files", "manifest_invalid")},
            id="path that escapes",
        ),
        pytest.param(
            edit("manifest.toml", lambda text: text.replace("tabular-classification", "crystal-ball")),
            {("manifest.toml: pipeline", "unknown_pipeline")},
            id="unknown pipeline",
        ),
        pytest.param(
            edit("manifest.toml", lambda text: text.replace('"positive" = "ill"', '"positive" = "sick"')),
            {("manifest.toml: parameters", "manifest_invalid")},
            id="wrong parameters",
        ),
        pytest.param(
            sealed("golden.json", lambda text: "{"), {("golden.json", "golden_invalid")}, id="no JSON"
        ),
        pytest.param(
            sealed("golden.json", lambda text: '{"cases": []}'),
            {("golden.json", "golden_too_few")},
            id="no cases",
        ),
        pytest.param(
            sealed("golden.json", first_case({"expected": {"label": "ill"}})),
            {("golden.json: case 0", "golden_alone")},
            id="wrong answer",
        ),
        pytest.param(
            model(rows=2),
            {
                ("manifest.toml: graph.inputs", "input_differs"),
                ("manifest.toml: graph.outputs", "output_differs"),
            },
            id="rows",
        ),
        pytest.param(
            model(extra=[helper.make_node("Identity", ["logit"], ["mixed"], domain="com.example")]),
            {("model.onnx", "unknown_operator_domain")},
            id="operator domain",
        ),
    ],
)
def test_a_bundle_with_one_fault_is_refused_for_just_that(
    folder: Path, harm: Callable[[Path], None], expected: set[tuple[str, str]]
) -> None:
    with suppress(BundleRefused):  # sealing already refuses what reading refuses
        harm(folder)
    assert refusals(folder) == expected


def test_a_graph_that_mixes_rows_is_found_in_the_batch_only(folder: Path) -> None:
    model(extra=CUMULATIVE)(folder)
    renew_golden(folder, CpuRun())
    seal_bundle(folder)
    assert {code for _, code in refusals(folder)} == {"golden_batched", "golden_reordered"}


def test_nothing_runs_while_the_models_files_are_not_the_sealed_ones(folder: Path) -> None:
    (folder / "golden.json").write_text((folder / "golden.json").read_text() + " ")
    faults = check_bundle(folder, run=must_not_run)
    assert [fault.code for fault in faults] == ["digest_differs"]


def must_not_run(model_path: Path, feeds: Mapping[str, Array]) -> dict[str, Array]:
    raise AssertionError("the graph ran")


def test_what_the_runtime_raises_is_a_fault_of_the_bundle_and_not_an_accident(folder: Path) -> None:
    # Valid ONNX, but no batch of one has seven rows.
    shape = helper.make_node("Constant", [], ["shape"], value_ints=[7, 1])
    model(extra=[shape, helper.make_node("Reshape", ["logit", "shape"], ["mixed"])])(folder)
    assert refusals(folder) == {("golden.json", "golden_failed")}


def test_python_metrics_and_hidden_files_are_no_part_of_a_bundle(folder: Path) -> None:
    digest = read_bundle(folder).digest
    for name in ("train.py", "metrics.json", ".note", "__pycache__/train.pyc"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("x")
    assert seal_bundle(folder).digest == digest
    assert publishable(folder, CpuRun()).digest == digest


def test_side_files_are_sealed_and_count(folder: Path) -> None:
    digest = read_bundle(folder).digest
    (folder / "side").mkdir()
    (folder / "side" / "words.txt").write_text("one")
    with_side_file = seal_bundle(folder)
    assert "side/words.txt" in with_side_file.manifest.files
    assert (read_bundle(folder).side_bytes, with_side_file.graph_paths) == (
        3,
        {"model": folder / "model.onnx"},
    )
    (folder / "side" / "words.txt").write_text("two")
    assert len({digest, with_side_file.digest, seal_bundle(folder).digest}) == 3


def test_the_digest_does_not_depend_on_where_the_bundle_lies(folder: Path, tmp_path: Path) -> None:
    assert read_bundle(folder).digest == read_bundle(write_bundle(tmp_path / "copy")).digest


def test_the_digest_is_that_of_a_sorted_sha256sum(folder: Path) -> None:
    names = ["CARD.md", "golden.json", "manifest.toml", "model.onnx"]
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    assert read_bundle(folder).digest == f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"


@pytest.mark.parametrize("name", ["manifest.toml", "CARD.md", "golden.json", "model.onnx"])
def test_the_digest_changes_with_every_file(folder: Path, name: str) -> None:
    before = read_bundle(folder).digest
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content + b"\n")
    assert read_bundle(folder).digest != before


def test_sealing_keeps_every_other_line_of_the_manifest(folder: Path) -> None:
    text = (
        "# before\n"
        + toml(manifest_table())
        + "\n[files]\n# about files\n\"old\" = 'x'\n\n# after\n[metrics]\nauc = 1\n"
    )
    (folder / "manifest.toml").write_text(text.replace("'x'", f"'sha256:{'0' * 64}'"))
    seal_bundle(folder)
    lines = (folder / "manifest.toml").read_text().splitlines()
    added = [line for line in lines if line not in text.splitlines()]
    assert [line.split(" = ")[0] for line in added] == ['"CARD.md"', '"golden.json"', '"model.onnx"']
    assert [line for line in lines if line not in added] == [
        line for line in text.splitlines() if not line.startswith('"old"')
    ]


def test_sealing_twice_changes_nothing(folder: Path) -> None:
    before = (folder / "manifest.toml").read_text()
    seal_bundle(folder)
    assert (folder / "manifest.toml").read_text() == before


ODD_MANIFESTS = {
    "comment behind the header": lambda text: text.replace("[files]", "[files] # sealed"),
    "spaces in the header": lambda text: text.replace("[files]", "  [ files ]"),
    "quoted header": lambda text: text.replace("[files]", '["files"]'),
    "line separator": lambda text: text.replace('title = "', 'title = "one\u2028two\x85'),
    "header in a text": lambda text: text.replace("[files]", "[metrics]\nnote = '''\n[files]\n'''\n[files]"),
    "indented table behind": lambda text: text + "\n  [metrics] # last\n  auc = 1\n",
    "byte order mark": lambda text: "\ufeff" + text,
}


@pytest.mark.parametrize("change", ODD_MANIFESTS.values(), ids=ODD_MANIFESTS)
def test_sealing_changes_the_files_alone_however_the_manifest_is_written(
    folder: Path, change: Callable[[str], str]
) -> None:
    path = folder / "manifest.toml"
    text = change(path.read_text())
    before = tomllib.loads(text.removeprefix("\ufeff"))
    path.write_text(text)
    for _ in range(2):
        (folder / "CARD.md").write_text((folder / "CARD.md").read_text() + "More.\n")
        seal_bundle(folder)
        after = tomllib.loads(path.read_text())
        assert after["files"] == {name: file_digest(folder / name) for name in sorted(after["files"])}
        assert after | {"files": {}} == before | {"files": {}}
    comments = [line for line in text.split("\n") if "#" in line]
    assert [line for line in path.read_text().split("\n") if "#" in line] == comments


@pytest.mark.parametrize("written", ["files = {}\n", 'files."model.onnx" = "sha256:%s"\n' % ("0" * 64)])
def test_digests_that_are_no_table_of_their_own_are_refused_with_what_to_do(
    folder: Path, written: str
) -> None:
    path = folder / "manifest.toml"
    text = written + path.read_text().partition("[files]")[0]
    path.write_text(text)
    with pytest.raises(BundleRefused, match=r"manifest.toml: files: .*a separate table \[files\]"):
        seal_bundle(folder)
    assert path.read_text() == text


def test_sealing_an_invalid_manifest_leaves_it_alone(folder: Path) -> None:
    text = (folder / "manifest.toml").read_text().replace("1.0.0", "one")
    (folder / "manifest.toml").write_text(text)
    with pytest.raises(BundleRefused, match="version"):
        seal_bundle(folder)
    assert (folder / "manifest.toml").read_text() == text


def test_the_command_seals_after_a_training(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "model.onnx").write_bytes(
        graph([helper.make_node("Neg", ["logit"], ["mixed"])]).SerializeToString()
    )
    assert main(["check", str(folder)]) == 1
    assert main(["seal", str(folder)]) == 1, "the golden cases still hold the old answers"
    assert main(["seal", "--golden", str(folder)]) == 0
    assert main(["check", str(folder)]) == 0
    written = capsys.readouterr()
    assert "digest_differs" in written.err
    assert "golden_alone" in written.err
    assert f"dose-effect 1.0.0 {read_bundle(folder).digest}" in written.out


def test_a_bundle_is_sealed_with_its_answers_at_first_and_without_them_later(folder: Path) -> None:
    (folder / "own words.txt").write_text("a")
    [fault] = check_bundle(folder, CpuRun())
    assert (fault.place, fault.code) == ("own words.txt", "file_not_listed")
    assert fault.detail == f"seal the bundle: medqueue models seal {folder}"
    manifest = folder / "manifest.toml"
    manifest.write_text(manifest.read_text().partition("[files]")[0])
    faults = check_bundle(folder, CpuRun())
    assert {each.code for each in faults} == {"file_not_listed"}
    assert {each.detail for each in faults} == {f"seal the bundle: medqueue models seal --golden {folder}"}
