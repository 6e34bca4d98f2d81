"""A bundle: the folder of one model version. Reads and seals it; models.checking checks it.

A bundle is manifest.toml and the files that its `[files]` table lists with their SHA-256: golden.json, CARD.md, side files and,
unless written rules answer, model.onnx. train.py and metrics.json may be in the folder but are not part of the bundle. The
bundle's digest covers all its files, so it identifies one exact model.
"""

import hashlib
import json
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from models.fitting import Fitting, GraphUnknown
from models.golden import renewed_golden
from models.golden_cases import GOLDEN_NAME, NO_GOLDEN, GoldenCase, parse_golden
from models.graph import read_signature
from models.manifest import (
    BYTE_ORDER_MARK,
    MANIFEST_NAME,
    MODEL,
    BundleRefused,
    Fault,
    ModelManifest,
    toml_table,
)
from models.pipelines import Array, Pipeline, ReadFile, Run, Scoring, load_pipeline
from models.pipelines.contract import SIDE_FILE_BYTES
from models.pipelines.side_files import missing, too_large
from models.sandbox import Sandbox, SandboxRun

__all__ = [
    "CARD_NAME",
    "ZOO",
    "Bundle",
    "BundleRefused",
    "Fault",
    "RunModel",
    "bundle_bytes",
    "bundle_files",
    "bundled",
    "file_digest",
    "fitted",
    "graph_files",
    "opened",
    "path_fault",
    "read_bundle",
    "read_manifest",
    "read_text",
    "renew_golden",
    "seal_bundle",
    "side_files",
]

CARD_NAME = "CARD.md"
ZOO = Path(__file__).parent / "zoo"
_LISTED_ALWAYS = (CARD_NAME, GOLDEN_NAME)
_LEFT_OUT = frozenset((MANIFEST_NAME, "metrics.json"))  # and Python files: a bundle is data

_FILES_HEADER = re.compile(r"""\s*\[\s*(files|"files"|'files')\s*\]""")

# (path of model.onnx, feeds) -> every output of the graph by name.
RunModel = Callable[[Path, Mapping[str, Array]], Mapping[str, Array]]


@dataclass(frozen=True)
class Bundle:
    """One model version on disk. Digests are "sha256:<hex>"; `file_digests` are those of the files on disk."""

    folder: Path
    manifest: ModelManifest
    digest: str
    card: str
    golden: tuple[GoldenCase, ...]
    file_digests: Mapping[str, str]

    @property
    def graph_paths(self) -> dict[str, Path]:
        """The ONNX files by the name of the graph."""
        return {name: self.folder / table.file for name, table in self.manifest.graph_tables.items()}

    @property
    def model_path(self) -> Path:
        """The ONNX file of the bundle's only graph, or of the first of several. Not for a bundle without graphs."""
        return next(iter(self.graph_paths.values()))

    @property
    def side_bytes(self) -> int:
        """Size of all files other than graphs, card and golden cases: weights, tokenizers, tables."""
        apart = {*graph_files(self.manifest), *_LISTED_ALWAYS}
        return sum((self.folder / path).stat().st_size for path in self.manifest.files if path not in apart)


def bundled() -> list[Path]:
    """The folders of the models that come with medqueue, sorted by name."""
    return sorted(path.parent for path in ZOO.glob(f"*/{MANIFEST_NAME}"))


def read_bundle(folder: Path) -> Bundle:
    """The bundle in `folder`, not yet checked. Raises BundleRefused if it cannot be read."""
    manifest = read_manifest(folder)
    listed = sorted({*manifest.files, *_LISTED_ALWAYS, *graph_files(manifest)})
    if faults := [fault for path in listed if (fault := path_fault(folder, path)) is not None]:
        raise BundleRefused(*faults)
    file_digests = {path: file_digest(folder / path) for path in (MANIFEST_NAME, *listed)}
    return Bundle(
        folder=folder,
        manifest=manifest,
        digest=_digest(file_digests),
        card=read_text(folder, CARD_NAME),
        golden=parse_golden(read_text(folder, GOLDEN_NAME)),
        file_digests=file_digests,
    )


def graph_files(manifest: ModelManifest) -> list[str]:
    """The ONNX files of a bundle, as paths inside it."""
    return [table.file for table in manifest.graph_tables.values()]


def fitted(folder: Path, manifest: ModelManifest, pipeline: Pipeline, run: RunModel) -> Run:
    """The graphs of the bundle in `folder`, adapted to their pipeline and run by `run`."""
    tables = manifest.graph_tables

    @cache
    def fitting(name: str) -> Fitting:
        table = tables[name]
        return Fitting(table, pipeline.graphs[name], read_signature(folder / table.file))

    def run_fitted(feeds: Mapping[str, Array], graph: str = MODEL) -> Mapping[str, Array]:
        if graph not in tables:
            raise GraphUnknown(graph, tables)
        return fitting(graph).run(lambda fed: run(folder / tables[graph].file, fed), feeds)

    return run_fitted


def opened(folder: Path, pipeline: Pipeline) -> Scoring:
    """The scoring half of `pipeline` with the files of the bundle in `folder`. Raises BundleRefused."""
    try:
        return pipeline.open(folder)
    except BundleRefused:
        raise
    except (Exception, SystemExit) as error:  # a pipeline may raise anything: a fault of these files
        reason = f"the pipeline cannot open the bundle's files: {type(error).__name__}: {error}"
        raise BundleRefused(Fault(f"{MANIFEST_NAME}: parameters", "bundle_not_opened", reason)) from error


def side_files(folder: Path) -> ReadFile:
    """Reads small files of the bundle in `folder`."""

    def read(path: str) -> bytes:
        if path not in bundle_files(folder) or path_fault(folder, path) is not None:
            raise missing(path)
        if (folder / path).stat().st_size > SIDE_FILE_BYTES:
            raise too_large(path)
        return (folder / path).read_bytes()

    return read


def seal_bundle(folder: Path) -> Bundle:
    """Write the digests of the files in `folder` into the manifest's [files] table. Raises BundleRefused.

    All other lines of the manifest are kept; a byte order mark is removed.
    """
    read_manifest(folder)
    paths = sorted(bundle_files(folder))
    if faults := [fault for path in paths if (fault := path_fault(folder, path)) is not None]:
        raise BundleRefused(*faults)
    digests = {path: file_digest(folder / path) for path in paths}
    text = _with_files(read_text(folder, MANIFEST_NAME), digests)
    ModelManifest.parse(text)
    (folder / MANIFEST_NAME).write_text(text, encoding="utf-8")
    return read_bundle(folder)


def renew_golden(folder: Path, run: RunModel | None = None) -> None:
    """Write the present answers of the model in `folder` into golden.json. Raises BundleRefused."""
    manifest = read_manifest(folder)
    pipeline = load_pipeline(manifest, side_files(folder))
    text = read_text(folder, GOLDEN_NAME)
    if faults := [fault for file in graph_files(manifest) if (fault := path_fault(folder, file)) is not None]:
        raise BundleRefused(*faults)
    with Sandbox(files_bytes=bundle_bytes(folder)) as sandbox:
        run_model = run or SandboxRun(sandbox, manifest.runtime.run_timeout_s)
        run_graphs = fitted(folder, manifest, pipeline, run_model)
        renewed = renewed_golden(text, pipeline, opened(folder, pipeline), run_graphs)
    (folder / GOLDEN_NAME).write_text(renewed, encoding="utf-8")


def read_manifest(folder: Path) -> ModelManifest:
    """The manifest of the bundle in `folder`. Raises BundleRefused."""
    return ModelManifest.parse(read_text(folder, MANIFEST_NAME))


def path_fault(folder: Path, path: str) -> Fault | None:
    """Why `path` is not a plain file of the bundle: it is missing, or reached through a symbolic link."""
    steps = [folder.joinpath(*path.split("/")[:depth]) for depth in range(1, path.count("/") + 2)]
    if any(step.is_symlink() for step in steps):
        return Fault(path, "file_is_link", "replace the symbolic link with the file itself")
    if not steps[-1].exists():
        words = NO_GOLDEN if path == GOLDEN_NAME else "add this file to the bundle"
        return Fault(path, "file_missing", words)
    if not stat.S_ISREG(steps[-1].stat().st_mode):
        return Fault(path, "file_missing", "replace it with a plain file")
    return None


def read_text(folder: Path, path: str) -> str:
    """The text of one of a bundle's files. Raises BundleRefused."""
    if (fault := path_fault(folder, path)) is not None:
        raise BundleRefused(fault)
    try:
        return (folder / path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise BundleRefused(Fault(path, "file_not_text", "save this file as UTF-8")) from None


def file_digest(path: Path) -> str:
    """The digest of one file: "sha256:<hex>"."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _digest(file_digests: Mapping[str, str]) -> str:
    """SHA-256 over one line per file, sorted by path, in the format of `sha256sum`."""
    lines = (f"{digest.removeprefix('sha256:')}  {path}\n" for path, digest in sorted(file_digests.items()))
    return f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"


def bundle_files(folder: Path) -> Iterator[str]:
    """Paths of the files in `folder` that belong to its bundle: no Python, no metrics, nothing hidden."""
    for file in folder.rglob("*"):
        path = file.relative_to(folder)
        hidden = any(part.startswith((".", "__")) for part in path.parts)
        if not (hidden or file.is_dir() or file.suffix == ".py" or path.name in _LEFT_OUT):
            yield path.as_posix()


def bundle_bytes(folder: Path) -> int:
    """Size of all files of the bundle in `folder`."""
    return sum(
        (folder / path).stat().st_size for path in bundle_files(folder) if path_fault(folder, path) is None
    )


def _with_files(text: str, file_digests: Mapping[str, str]) -> str:
    """The manifest `text` with `file_digests` as its [files] table; all other lines are kept. Raises BundleRefused."""
    before = toml_table(text)
    lines = text.removeprefix(BYTE_ORDER_MARK).removesuffix("\n").split("\n")
    header = next((at for at in _headers(lines) if _FILES_HEADER.match(lines[at])), None)
    if header is None:
        lines += ["", "[files]"]
        header = len(lines) - 1
    start = header + 1
    end = next((at for at in _headers(lines) if at >= start), len(lines))
    kept = [line for line in lines[start:end] if not line.strip() or line.lstrip().startswith("#")]
    entries = [f"{json.dumps(path)} = {json.dumps(digest)}" for path, digest in sorted(file_digests.items())]
    text = "\n".join([*lines[:start], *entries, *kept, *lines[end:]]) + "\n"
    if not _only_files_changed(before, text, file_digests):
        advice = "write the digests as a separate table [files] at the end, so that sealing can renew them"
        raise BundleRefused(Fault(f"{MANIFEST_NAME}: files", "manifest_invalid", advice))
    return text


def _headers(lines: list[str]) -> Iterator[int]:
    """Where tables begin in the `lines` of a manifest; a `[` inside a string or list of several lines does not count."""
    return (at for at, line in enumerate(lines) if line.lstrip().startswith("[") and _whole(lines[:at]))


def _whole(lines: list[str]) -> bool:
    """Whether no string or list continues after `lines`."""
    try:
        toml_table("\n".join(lines))
    except BundleRefused:
        return False
    return True


def _only_files_changed(before: Mapping[str, object], text: str, file_digests: Mapping[str, str]) -> bool:
    """Whether `text` has the content that the manifest had `before`, except for `file_digests`."""
    try:
        after = toml_table(text)
    except BundleRefused:
        return False
    unsealed = [
        repr({key: value for key, value in table.items() if key != "files"}) for table in (before, after)
    ]
    return unsealed[0] == unsealed[1] and after["files"] == file_digests
