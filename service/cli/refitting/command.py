"""The command `medqueue models refit`."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from service.cli.evaluation.command import LABEL_OF_VALUE
from service.cli.exits import ExitCode
from service.cli.options import FiniteRange, over_installation

if TYPE_CHECKING:
    from models.bundle import Bundle
    from service.cli.installation import Installation
    from service.cli.output import Output
    from service.cli.refitting.fitting import Asked, Refit

EXTRA: Final = "medqueue models refit needs scikit-learn: pip install 'medqueue[evaluate]'."
CANDIDATE: Final = "candidate"
MOST_SHOWN: Final = 20  # of the rows that are refused; metrics.json lists all
existing = click.Path(exists=True, path_type=Path)


@click.command("refit")
@click.argument("reference", metavar="NAME[@VERSION]")
@click.option("--data", required=True, type=existing, metavar="FILE", help="New labelled rows.")
@click.option("--label", metavar="COLUMN", help="Column of a table that holds the truth.")
@click.option(
    "--value", "values", type=LABEL_OF_VALUE, multiple=True, metavar="VALUE=LABEL",
    help="The label that a value of the truth stands for (repeatable).",
)  # fmt: skip
@click.option("--ignore", multiple=True, metavar="COLUMN", help="A column to ignore (repeatable).")
@click.option("--group", metavar="COLUMN", help="Rows of one value of it, such as a patient, stay together.")
@click.option(
    "--held-out", "apart", type=existing, metavar="FILE", help="Rows to measure with, instead of a share."
)
@click.option(
    "--share", type=FiniteRange(min=0.05, max=0.95), default=0.4, show_default=True, metavar="SHARE",
    help="Share of the rows that is held out to measure with.",
)  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Of the choice of rows held out.")
@click.option(
    "--parent-rows", type=click.IntRange(min=1), metavar="N",
    help="Of a recommender that was never refitted: how many users it was trained on, as its card says.",
)  # fmt: skip
@click.option("--version", help="Version of the refit; by default the next minor one.")
@click.option(
    "--out", "folder", type=click.Path(path_type=Path), metavar="FOLDER", help="The folder to create."
)
@over_installation
def refit(
    installation: Installation,
    out: Output,
    *,
    reference: str,
    data: Path,
    folder: Path | None,
    version: str | None,
    values: tuple[tuple[str, str], ...],
    **how: Any,
) -> int:
    """Refit a published model to labelled rows (operator).

    Makes a new version: probabilities are recalibrated, the last linear layer of a table moves, or the matrices of a
    recommender are updated. Each row is used, held out or refused, and counted so; refused rows are listed with their line and
    the reason. The old and the new version are measured on the rows held out. If no figure is worse beyond its interval, the
    new version is checked and published under the alias `candidate`; `stable` stays where it is until `medqueue models
    promote`. FILE is a table, NDJSON lines, or a folder, as for `models evaluate`; of a recommender lines, whose `expected`
    lists items that were had beside `history`.

    \b
    Examples:
      medqueue models refit sepsis-risk --data ward.csv --label sepsis --group patient
      medqueue models refit sepsis-risk@1.2.0 --data january.ndjson --held-out february.ndjson
      medqueue models refit medication-recommender --data stays.ndjson --group hospital --parent-rows 1399
    """
    from models.bundle import BundleRefused
    from service.cli import tables

    try:
        from service.cli.refitting.fitting import Asked, refitted
    except ModuleNotFoundError:
        raise click.UsageError(EXTRA) from None
    with tempfile.TemporaryDirectory(prefix="medqueue-refit-") as cache:
        parent, version = _parent(installation, reference, version, Path(cache))
        folder = folder or Path(f"{parent.manifest.name}-{version}")
        asked = Asked(parent, folder, version, data, dict(values), **how)
        try:
            with out.waiting(f"{version}: fitting, measuring, checking"):
                found = refitted(asked)
        except FileExistsError:
            raise click.UsageError(f"{folder} is there already: name a new folder by --out.") from None
        except BundleRefused as refused:
            faults = [asdict(fault) for fault in refused.faults]
            out.show({"faults": faults}, lambda: tables.faults(faults))
            return ExitCode.FAILED
    _publish(installation, found.bundle)
    out.show(_document(asked, found), lambda: _tables(asked, found))
    return ExitCode.OK


def _parent(
    installation: Installation, reference: str, version: str | None, cache: Path
) -> tuple[Bundle, str]:
    """The published bundle, and the version of its refit. Raises ModelNotFound, BundleUnusable and click.UsageError."""
    from models.manifest_words import SEMVER
    from models.refits.making import is_above, raised
    from service.catalog import Catalog
    from service.catalog.bundles import fetch

    catalog = Catalog(installation.database, cache_s=60.0, blobs=installation.blobs)
    model = catalog.resolve(reference)
    taken = {each.version for each in catalog.versions_of(model.name)}
    if version in taken:
        raise click.UsageError(f"{model.name} {version} is published already: name another --version.")
    if version is not None and re.match(SEMVER, version) is None:
        raise click.UsageError(f"{version} is no version such as 1.2.0: name another --version.")
    if version is not None and not is_above(version, model.version):
        reason = f"{version} is not above {model.version}, which it is made of: name a later --version."
        raise click.UsageError(reason)
    return fetch(installation.blobs, model, cache), version or raised(model.version, taken)


def _publish(installation: Installation, bundle: Bundle) -> None:
    from service.catalog import publishing

    manifest, actor = bundle.manifest, installation.actor
    with installation.database.transaction() as work:
        publishing.publish(work, installation.blobs, bundle, actor=actor)
        publishing.promote(work, name=manifest.name, version=manifest.version, alias=CANDIDATE, actor=actor)


def _document(asked: Asked, found: Refit) -> dict[str, Any]:
    return {
        "folder": str(asked.folder),
        "name": found.bundle.manifest.name,
        "version": found.bundle.manifest.version,
        "digest": found.bundle.digest,
        "alias": CANDIDATE,
        **found.document,
        "refused": [asdict(each) for each in found.rows.refused],
    }


def _tables(asked: Asked, found: Refit) -> Any:
    from rich.console import Group

    from service.cli.tables import fields, listing

    counts = found.rows.counts()
    known = {
        "folder": str(asked.folder),
        "name": found.bundle.manifest.name,
        "version": f"{found.bundle.manifest.version}, of {asked.parent.manifest.version}",
        "digest": found.bundle.digest,
        "alias": CANDIDATE,
        "change": found.said,
        "rows": f"{counts['rows']}: {counts['used']} used, {counts['held_out']} held out, {counts['refused']} refused"
        + (f"; {found.rows.repeated} of them repeat another" if found.rows.repeated else ""),
    }
    gains = [
        (each.name, str(each.parent), str(each.refit), str(each.gain)) for each in found.comparison.gains
    ]
    parts: list[Any] = [
        fields(known.items()),
        listing(("FIGURE", "PARENT", "REFIT", "GAIN"), gains, empty=""),
    ]
    refused: Sequence[tuple[str, str]] = [(each.place, each.told) for each in found.rows.refused]
    if refused:
        parts.append(listing(("REFUSED", "WHY"), refused[:MOST_SHOWN], empty=""))
    return Group(*parts)
