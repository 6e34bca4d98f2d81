"""`medqueue models`: the catalogue; seal, check, publish and promote bundles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from service.cli.evaluation.command import evaluate
from service.cli.exits import ExitCode
from service.cli.options import Delimiter, InOrder, json_option, over_api, over_installation
from service.cli.output import Output
from service.cli.quantizing import quantize
from service.cli.refitting.command import refit

if TYPE_CHECKING:
    from models.bundle import Bundle
    from service.cli.client import ApiClient
    from service.cli.installation import Installation

folder_argument = click.argument(
    "folder", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="FOLDER"
)


@click.group("models", cls=InOrder)
def models() -> None:
    """See what can be scored; seal, check, publish bundles."""


@models.command("list")
@over_api
def list_models(api: ApiClient, out: Output) -> int:
    """List the published models."""
    from service.cli import tables

    found = api.models()
    out.show({"items": found}, lambda: tables.models(found))
    return ExitCode.OK


@models.command("show")
@click.argument("reference", metavar="NAME[@VERSION]")
@click.option("--card", "part", flag_value="card", help="Only the model's card, in Markdown.")
@click.option("--example", "part", flag_value="example", help="Only an example of its input, in JSON.")
@over_api
def show_model(api: ApiClient, out: Output, reference: str, part: str | None) -> int:
    """Show a model: its inputs, labels, figures and versions.

    \b
    Examples:
      medqueue models show breast-cancer-wisconsin
      medqueue models show pneumonia-xray-28@1.0.0 --card
      medqueue models show breast-cancer-wisconsin --example > case.json
    """
    from service.cli import model_tables, tables

    model = api.model(reference)
    if part == "example":
        out.write_json(model_tables.example(model["input_schema"]))
    elif part == "card":
        out.show({"card": model["card"]}, lambda: tables.text(model["card"]))
    else:
        out.show(model, lambda: model_tables.model(model))
    return ExitCode.OK


@models.command("new")
@click.argument("folder", type=click.Path(exists=False, path_type=Path), metavar="FOLDER")
@click.option(
    "--from",
    "model",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="MODEL.onnx",
)
@click.option("--name", help="Name of the model; by default the folder's.")
@click.option(
    "--data",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="ROWS.csv",
    help="Rows of a table, from which names and ranges of columns are taken; no row is kept.",
)
@click.option(
    "--decimal", type=click.Choice([".", ","]), help="Decimal mark of the rows; a point if omitted."
)
@click.option(
    "--delimiter",
    type=Delimiter(),
    metavar="D",
    help="Between the fields of the rows: a character, or `tab`; detected if omitted.",
)
@json_option
def new_bundle(
    folder: Path,
    *,
    model: Path,
    name: str | None,
    data: Path | None,
    decimal: str | None,
    delimiter: str | None,
    as_json: bool,
) -> int:
    """Create a bundle from an ONNX file; list what is left to fill in.

    Reads the graph, guesses the pipeline, and writes manifest.toml, golden.json and CARD.md into the new FOLDER.
    The graph is copied there unchanged.

    \b
    Example:
      medqueue models new sepsis-risk --from exported.onnx
      medqueue models new sepsis-risk --from exported.onnx --data training-rows.csv
      medqueue models new sepsis-risk --from exported.onnx --data rows.csv --delimiter ';' --decimal ,
    """
    from models.bundle import BundleRefused
    from models.column_ranges import RowsFile
    from models.skeleton import write_skeleton
    from service.cli import tables

    if data is None and (decimal or delimiter):
        raise click.UsageError("--decimal and --delimiter are of the rows in --data: name the file.")
    out = Output(as_json=as_json)
    rows = None if data is None else RowsFile(data, delimiter, decimal or ".")
    try:
        found = write_skeleton(model, folder, name or folder.name, rows)
    except FileExistsError:
        raise click.UsageError(f"{folder} is there already: name a new folder.") from None
    except BundleRefused as refused:
        faults = [asdict(fault) for fault in refused.faults]
        out.show({"faults": faults}, lambda: tables.faults(faults))
        return ExitCode.FAILED
    known = {
        "folder": str(found.folder),
        "pipeline": found.pipeline,
        "left": [{"place": place, "what": what} for place, what in found.left],
    }
    out.show(known, lambda: tables.listing(("LEFT TO DO", "WHAT"), found.left, empty=""))
    return ExitCode.OK


@models.command("index")
@click.argument(
    "documents", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="DOCUMENTS"
)
@click.option(
    "--from",
    "source",
    required=True,
    metavar="MODEL",
    help="A bundled model or a folder: its encoder is used.",
)
@click.option("--name", required=True, help="Name of the new model, and of its folder.")
@click.option("--into", type=click.Path(path_type=Path), metavar="FOLDER", help="Another folder to create.")
@click.option("--about", default="", help="What the model answers, in one line.")
@click.option("--license", default="LicenseRef-Proprietary", show_default=True, help="Of the documents.")
@click.option("--text", default="text", show_default=True, help="Column of the texts.")
@click.option("--id", default="id", show_default=True, help="Column of the ids.")
@click.option("--title", default="title", show_default=True, help="Column of the titles.")
@click.option("--url", default="url", show_default=True, help="Column of the links.")
@json_option
def index_documents(
    documents: Path, source: str, name: str, into: Path | None, as_json: bool, **told: str
) -> int:
    """Create a bundle that searches the documents of a file.

    DOCUMENTS is a .csv, .jsonl or .ndjson file. Each row or line is a document: a text, and an id, a title and a link if
    there are such columns. A document without an id gets the number of its line. The bundle is ready to be published; its
    golden cases and its card are written, too.

    The bundle holds the texts unencrypted, and whoever may submit jobs to the model can read them.

    \b
    Example:
      medqueue models index notes.csv --from sentence-encoder --name ward-notes --text note
    """
    from service.cli.indexing import index_file

    columns = {key: told[key] for key in ("text", "id", "title", "url")}
    about = {
        "name": name,
        "license": told["license"],
        "title": told["about"] or f"Search in {documents.name}",
    }
    return index_file(
        Output(as_json=as_json), documents, source, into or Path(name), columns=columns, about=about
    )


@models.command("seal")
@folder_argument
@click.option("--golden", is_flag=True, help="First rewrite golden.json with the model's present answers.")
@json_option
def seal_bundle(folder: Path, golden: bool, as_json: bool) -> int:
    """Write the digests of a bundle into its manifest; check it.

    Do this after every change of a bundle. With --golden a case of golden.json needs only an input.

    Ends with 0 if the bundle could be published, and with 1 if it would be refused.

    \b
    Examples:
      medqueue models seal models/zoo/breast-cancer-wisconsin
      medqueue models seal --golden models/zoo/breast-cancer-wisconsin
    """
    from models.checking import sealed

    return _show_check(lambda: sealed(folder, golden=golden), Output(as_json=as_json))


@models.command("check")
@folder_argument
@json_option
def check_bundle(folder: Path, as_json: bool) -> int:
    """Report every fault of the bundle in FOLDER; changes nothing.

    Checks what publishing would check, and needs no running stack. The graph runs in a separate process: one run
    may take as long as the manifest says (`runtime.run_timeout_s`), the whole check five minutes.

    Ends with 0 if the bundle could be published, and with 1 if it would be refused.

    \b
    Example:
      medqueue models check models/zoo/breast-cancer-wisconsin
    """
    from models.checking import publishable

    return _show_check(lambda: publishable(folder), Output(as_json=as_json))


def _show_check(check: Callable[[], Bundle], out: Output) -> int:
    """Show the bundle that `check` gives and what is remarkable of it, or the faults that it is refused for."""
    from models.bundle import side_files
    from models.manifest import BundleRefused
    from models.open_ranges import open_ranges
    from models.pipelines import load_pipeline
    from service.cli import tables

    try:
        bundle = check()
    except BundleRefused as refused:
        faults = [asdict(fault) for fault in refused.faults]
        out.show({"publishable": False, "faults": faults}, lambda: tables.faults(faults))
        return ExitCode.FAILED
    known = {"name": bundle.manifest.name, "version": bundle.manifest.version, "digest": bundle.digest}
    remarks = open_ranges(load_pipeline(bundle.manifest, side_files(bundle.folder)))
    out.show(
        {"publishable": True, "faults": [], **known, "remarks": [asdict(each) for each in remarks]},
        lambda: tables.fields([*known.items(), ("publishable", "yes")]),
    )
    for remark in remarks:
        out.note(f"Remark: {remark}")
    return ExitCode.OK


models.add_command(evaluate)
models.add_command(quantize)
models.add_command(refit)


@models.command("publish")
@folder_argument
@over_installation
def publish_bundle(installation: Installation, out: Output, folder: Path) -> int:
    """Check and publish the bundle in FOLDER (operator).

    Works on the database and the blob store. The first version of a name becomes `stable`; a later one waits for
    `medqueue models promote`. Publishing the same content again changes nothing.

    \b
    Example:
      medqueue models publish models/zoo/breast-cancer-wisconsin
    """
    from service.bootstrap import publish_folder
    from service.cli import tables

    bundle = publish_folder(installation.database, installation.blobs, folder, actor=installation.actor)
    known = {"name": bundle.manifest.name, "version": bundle.manifest.version, "digest": bundle.digest}
    out.show(known, lambda: tables.fields(known.items()))
    return ExitCode.OK


@models.command("promote")
@click.argument("name")
@click.argument("version")
@click.option("--alias", default="stable", show_default=True, help="The alias to point at the version.")
@over_installation
def promote_version(installation: Installation, out: Output, name: str, version: str, alias: str) -> int:
    """Point an alias at a published version (operator). Jobs accepted before keep the version they have.

    \b
    Examples:
      medqueue models promote breast-cancer-wisconsin 1.1.0
      medqueue models promote breast-cancer-wisconsin 1.1.0 --alias trial
    """
    from service.catalog import publishing
    from service.cli import tables

    with installation.database.transaction() as work:
        publishing.promote(work, name=name, version=version, alias=alias, actor=installation.actor)
    promoted = {"name": name, "alias": alias, "version": version}
    out.show(promoted, lambda: tables.fields(promoted.items()))
    return ExitCode.OK
