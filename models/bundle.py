"""A bundle: the folder that is one model version. Read it, seal it, and refuse it with every reason.

A bundle is manifest.toml and the files its `[files]` table lists with their SHA-256: model.onnx, golden.json,
CARD.md and side files. train.py and metrics.json may lie beside them and are no part of it. The digest covers
all of them, so it names one exact model.
"""

import hashlib
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from models.golden import GOLDEN_NAME, GoldenCase, RunGraph, check_golden, parse_golden, renewed_golden
from models.graph import check_graph, read_signature
from models.manifest import FILL_IN, MANIFEST_NAME, BundleRefused, Fault, ManifestInvalid, ModelManifest
from models.pipelines import Array, Pipeline, load_pipeline
from models.signature import Fitting

__all__ = [
    "CARD_NAME",
    "Bundle",
    "BundleRefused",
    "CpuRun",
    "Fault",
    "bundled",
    "check_bundle",
    "publishable",
    "read_bundle",
    "renew_golden",
    "seal_bundle",
]

CARD_NAME = "CARD.md"
_ZOO = Path(__file__).parent / "zoo"
_LISTED_ALWAYS = (CARD_NAME, GOLDEN_NAME)
_LEFT_OUT = frozenset((MANIFEST_NAME, "metrics.json"))  # and Python files: a bundle is data

# (path of model.onnx, feeds) -> every output of the graph by name.
RunModel = Callable[[Path, Mapping[str, Array]], Mapping[str, Array]]


@dataclass(frozen=True)
class Bundle:
    """One model version on disk. Digests are "sha256:<hex>"; `file_digests` are of the files found."""

    folder: Path
    manifest: ModelManifest
    digest: str
    card: str
    golden: tuple[GoldenCase, ...]
    file_digests: Mapping[str, str]

    @property
    def model_path(self) -> Path:
        """The ONNX file."""
        return self.folder / self.manifest.graph.file

    @property
    def side_bytes(self) -> int:
        """Size of all files beside graph, card and golden cases: weights, tokenizers, tables."""
        apart = {self.manifest.graph.file, *_LISTED_ALWAYS}
        return sum((self.folder / path).stat().st_size for path in self.manifest.files if path not in apart)


def bundled() -> list[Path]:
    """The folders of the models that come with medqueue, sorted by name."""
    return sorted(path.parent for path in _ZOO.glob(f"*/{MANIFEST_NAME}"))


def read_bundle(folder: Path) -> Bundle:
    """The bundle in `folder`, not yet checked. Raises BundleRefused where it cannot even be read."""
    manifest = _read_manifest(folder)
    listed = sorted({*manifest.files, *_LISTED_ALWAYS, manifest.graph.file})
    if faults := [fault for path in listed if (fault := _path_fault(folder, path)) is not None]:
        raise BundleRefused(*faults)
    file_digests = {path: _file_digest(folder / path) for path in (MANIFEST_NAME, *listed)}
    return Bundle(
        folder=folder,
        manifest=manifest,
        digest=_digest(file_digests),
        card=_read_text(folder, CARD_NAME),
        golden=parse_golden(_read_text(folder, GOLDEN_NAME)),
        file_digests=file_digests,
    )


def publishable(folder: Path, run: RunModel | None = None) -> Bundle:
    """The bundle in `folder`, read and checked. Raises BundleRefused with every fault found."""
    bundle = read_bundle(folder)
    if faults := check_bundle(bundle, run):
        raise BundleRefused(*faults)
    return bundle


def check_bundle(bundle: Bundle, run: RunModel | None = None) -> list[Fault]:
    """Every reason not to publish `bundle`; none for a good one.

    The graph is run (by `run`, else ONNX Runtime on the CPU) only when nothing else is wrong with the bundle.
    """
    faults = [*_check_filled(bundle), *_check_card(bundle), *_check_files(bundle)]
    try:
        pipeline = load_pipeline(bundle.manifest)
    except ManifestInvalid as error:
        return [*faults, *error.faults]
    table, beside = bundle.manifest.graph, _beside(bundle)
    faults += check_graph(bundle.model_path, table, pipeline.feeds, pipeline.outputs, files=beside)
    if faults:
        return faults
    run_graph = _fitted(bundle.model_path, bundle.manifest, pipeline, run)
    return check_golden(bundle.golden, pipeline, bundle.manifest.runtime.tolerance, run_graph)


def _beside(bundle: Bundle) -> set[str]:
    """The bundle's files as paths relative to the folder of its graph, where weights are looked for."""
    start = PurePosixPath(bundle.manifest.graph.file).parent
    return {
        PurePosixPath(path).relative_to(start).as_posix()
        for path in bundle.manifest.files
        if PurePosixPath(path).is_relative_to(start)
    }


def _fitted(path: Path, manifest: ModelManifest, pipeline: Pipeline, run: RunModel | None) -> RunGraph:
    """The graph at `path` in its pipeline's terms, run by `run` or ONNX Runtime on the CPU."""
    run_model = run or CpuRun()
    fitting = cache(lambda: Fitting(manifest.graph, pipeline.feeds, pipeline.outputs, read_signature(path)))
    return lambda feeds: fitting().run(lambda fed: run_model(path, fed), feeds)


class CpuRun:
    """Runs a graph with ONNX Runtime on the CPU, one thread. Keeps the session of one model file."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._session: Any = None

    def __call__(self, model_path: Path, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Every output of the graph by name. Raises what ONNX Runtime raises."""
        if self._path != model_path:
            self._session, self._path = self._open(model_path), model_path
        names = [output.name for output in self._session.get_outputs()]
        return dict(zip(names, self._session.run(names, dict(feeds)), strict=True))

    @staticmethod
    def _open(model_path: Path) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4  # what is wrong comes back as a fault, not on stderr
        return onnxruntime.InferenceSession(model_path, options, providers=["CPUExecutionProvider"])


def seal_bundle(folder: Path) -> Bundle:
    """Write the digests of the files in `folder` into the manifest's [files] table. Raises BundleRefused.

    Every other line of the manifest stays as it is.
    """
    _read_manifest(folder)
    paths = sorted(_files_of(folder))
    digests = {path: _file_digest(folder / path) for path in paths}
    text = _with_files(_read_text(folder, MANIFEST_NAME), digests)
    ModelManifest.parse(text)
    (folder / MANIFEST_NAME).write_text(text, encoding="utf-8")
    return read_bundle(folder)


def renew_golden(folder: Path, run: RunModel | None = None) -> None:
    """Write into golden.json what the model in `folder` answers now. Raises BundleRefused."""
    manifest = _read_manifest(folder)
    pipeline, path = load_pipeline(manifest), folder / manifest.graph.file
    text = _read_text(folder, GOLDEN_NAME)
    renewed = renewed_golden(text, pipeline, _fitted(path, manifest, pipeline, run))
    (folder / GOLDEN_NAME).write_text(renewed, encoding="utf-8")


def _read_manifest(folder: Path) -> ModelManifest:
    if (fault := _path_fault(folder, MANIFEST_NAME)) is not None:
        raise BundleRefused(fault)
    return ModelManifest.parse(_read_text(folder, MANIFEST_NAME))


def _path_fault(folder: Path, path: str) -> Fault | None:
    """Why `path` is not a plain file of the bundle's own: absent, or reached through a symbolic link."""
    steps = [folder.joinpath(*path.split("/")[:depth]) for depth in range(1, path.count("/") + 2)]
    if any(step.is_symlink() for step in steps):
        return Fault(path, "file_is_link", "replace the symbolic link by the file itself")
    if not (steps[-1].exists() and stat.S_ISREG(steps[-1].stat().st_mode)):
        return Fault(path, "file_missing", "add this file to the bundle")
    return None


def _read_text(folder: Path, path: str) -> str:
    try:
        return (folder / path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise BundleRefused(Fault(path, "file_not_text", "write this file in UTF-8")) from None
    except FileNotFoundError:
        raise BundleRefused(Fault(path, "file_missing", "add this file to the bundle")) from None


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _digest(file_digests: Mapping[str, str]) -> str:
    """SHA-256 over one line a file, sorted by path, as `sha256sum` prints them."""
    lines = (f"{digest.removeprefix('sha256:')}  {path}\n" for path, digest in sorted(file_digests.items()))
    return f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"


def _check_filled(bundle: Bundle) -> list[Fault]:
    """Faults of places that a skeleton left open."""
    texts = {MANIFEST_NAME: bundle.manifest.model_dump_json(), CARD_NAME: bundle.card}
    return [
        Fault(name, "not_filled_in", f"write what is to stand in the places marked {FILL_IN}")
        for name, text in texts.items()
        if FILL_IN in text
    ]


def _check_card(bundle: Bundle) -> list[Fault]:
    if bundle.card.strip():
        return []
    return [
        Fault(CARD_NAME, "card_empty", "write who the model is for, what it was trained on and how it does")
    ]


def _check_files(bundle: Bundle) -> list[Fault]:
    """Faults of files whose digest is not the manifest's, and of files the manifest does not list."""
    listed = bundle.manifest.files
    present = {*bundle.file_digests, *_files_of(bundle.folder)} - {MANIFEST_NAME}
    unlisted = [Fault(path, "file_not_listed", "seal the bundle") for path in sorted(present - listed.keys())]
    differing = [
        Fault(path, "digest_differs", "the file is not the one that was sealed: restore it, or seal again")
        for path, digest in sorted(listed.items())
        if bundle.file_digests[path] != digest
    ]
    return unlisted + differing


def _files_of(folder: Path) -> Iterator[str]:
    """Paths of the files in `folder` that belong to its bundle: no Python, no metrics, nothing hidden."""
    for file in folder.rglob("*"):
        path = file.relative_to(folder)
        hidden = any(part.startswith((".", "__")) for part in path.parts)
        if not (hidden or file.is_dir() or file.suffix == ".py" or path.name in _LEFT_OUT):
            yield path.as_posix()


def _with_files(text: str, file_digests: Mapping[str, str]) -> str:
    """The manifest `text` with `file_digests` as its [files] table; comments and other lines stay."""
    lines = text.splitlines()
    if "[files]" not in lines:
        lines += ["", "[files]"]
    start = lines.index("[files]") + 1
    end = next((at for at in range(start, len(lines)) if lines[at].startswith("[")), len(lines))
    kept = [line for line in lines[start:end] if not line.strip() or line.startswith("#")]
    entries = [f'"{path}" = "{digest}"' for path, digest in sorted(file_digests.items())]
    return "\n".join([*lines[:start], *entries, *kept, *lines[end:]]) + "\n"
