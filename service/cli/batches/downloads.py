"""Fetches the output of a batch: its results and its errors."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from service.cli.downloads import Wanted, to_file, written

if TYPE_CHECKING:
    from service.cli.client import ApiClient, Json
    from service.cli.output import Output

KINDS = ("results", "errors")


def wanted_of(view: Json, kind: str, *, partial: bool = False) -> Wanted:
    """The `results` or `errors` of a batch, as its view describes them."""
    told = view[kind] or {}
    path = f"/v1/batches/{view['id']}/{kind}"
    return Wanted(path, partial, told.get("size_bytes"), told.get("sha256"))


def files_in(folder: Path, form: str) -> dict[str, Path]:
    """Where the files of a batch go in a folder, by kind."""
    return {kind: folder / f"{kind}.{form}" for kind in KINDS}


def make_room(folder: Path, form: str) -> None:
    """Create the folder before the batch is submitted, so that it is known to be writable and free. Raises click.UsageError."""
    with written(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise click.UsageError(f"Nothing can be written to {folder}.")
    for path in files_in(folder, form).values():
        if path.exists():
            raise click.UsageError(f"{path} is there already. Name another folder with --out.")


def fetch_all(api: ApiClient, out: Output, view: Json, folder: Path) -> None:
    """Fetch the files that a completed batch has."""
    for kind, path in files_in(folder, view["output"]["format"]).items():
        if view[kind] is None:
            continue
        to_file(api, out, wanted_of(view, kind), path)
        out.note(f"{path}: {view[kind]['rows']:,} rows")
