"""`medqueue models index`: makes a search bundle of a file, and reports what is wrong with the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from models.bundle import Bundle, BundleRefused, bundled, read_manifest
from models.pipelines.registry import load_pipeline
from models.pipelines.semantic_search import SemanticSearch
from models.pipelines.text_embedding import TextEmbedding
from models.search.bundles import About, write_search_bundle
from models.search.documents import CollectionRefused, Columns, read_documents
from service.cli import tables
from service.cli.exits import ExitCode
from service.cli.output import Output


def index_file(
    out: Output,
    path: Path,
    source: str,
    folder: Path,
    *,
    columns: Mapping[str, str],
    about: Mapping[str, str],
) -> int:
    """Write the bundle of the documents in the file `path` into the new `folder`, and show it or what is wrong."""
    if folder.exists():
        raise click.UsageError(f"{folder} is there already: name a new folder by --into.")
    try:
        bundle = _written(out, path, _encoder(source), folder, columns=Columns(**columns), about=about)
    except CollectionRefused as refused:
        found = [{"line": fault.line, "detail": fault.detail} for fault in refused.faults]
        rows = [(str(fault.line), fault.detail) for fault in refused.faults]
        out.show({"faults": found}, lambda: tables.listing(("LINE", "WHAT IS WRONG"), rows, empty=""))
        return ExitCode.FAILED
    except BundleRefused as refused:
        faults = [asdict(fault) for fault in refused.faults]
        out.show({"faults": faults}, lambda: tables.faults(faults))
        return ExitCode.FAILED
    known = {
        "folder": str(folder),
        "name": bundle.manifest.name,
        "digest": bundle.digest,
        **bundle.manifest.metrics,
    }
    out.show(known, lambda: tables.fields(known.items()))
    return ExitCode.OK


def _written(
    out: Output, path: Path, source: Path, folder: Path, *, columns: Columns, about: Mapping[str, str]
) -> Bundle:
    """Raises CollectionRefused and BundleRefused."""
    pipeline = load_pipeline(read_manifest(source))
    script = pipeline.parameters.script if isinstance(pipeline, SemanticSearch | TextEmbedding) else None
    documents = read_documents(path, columns, script)
    with out.waiting("encoding") as label:
        return write_search_bundle(
            folder,
            source,
            documents,
            About(**about, made_on=datetime.now(UTC).date()),
            lambda done, total: label(f"encoding: {done:,} of {total:,} passages"),
        )


def _encoder(source: str) -> Path:
    """The folder of a bundle: one that comes with medqueue, by its name, or any other."""
    folder = next((each for each in bundled() if each.name == source), Path(source))
    if not folder.is_dir():
        raise click.UsageError(
            f"{source} is neither a bundled model nor a folder: name the bundle of an encoder."
        )
    return folder
