"""`medqueue models quantize`: makes a variant of a bundle in lower precision, and says what it gained and lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from service.cli.evaluation.command import EXTRA, LABEL_OF_VALUE
from service.cli.exits import ExitCode
from service.cli.options import json_option
from service.cli.output import Output

if TYPE_CHECKING:
    from models.bundle import Bundle
    from models.pipelines import Pipeline
    from models.variants.making import Figures, Gain, Measure
    from models.variants.measuring import LocalModel
    from models.variants.schemes import Scheme
    from service.cli.evaluation.losses import Loss

BY_ROW = (
    "Rows are run one by one: the scales of dynamic int8 come from what is run together, so an answer would depend on the "
    "other rows. For batches use --to int8 alone (weights) or with --calibration (static)."
)
existing = click.Path(exists=True, path_type=Path)


@dataclass(frozen=True)
class _LabelledFile:
    """A labelled file, and how its truth is read."""

    path: Path
    label: str | None
    values: Mapping[str, str]
    ignore: Sequence[str]


@click.command("quantize")
@click.argument("source", metavar="BUNDLE")
@click.option(
    "--to", "form", required=True, type=click.Choice(["fp16", "int8"]), help="Float16, or eight bits."
)
@click.option("--calibration", type=existing, metavar="FILE", help="Typical inputs, for static int8.")
@click.option("--dynamic", is_flag=True, help="Dynamic int8: rows are then run one by one.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FOLDER", help="The folder to create.")
@click.option("--version", help="Version of the variant; by default that of the bundle, and its form.")
@click.option("--data", type=existing, metavar="FILE", help="Labelled cases, to measure the figures again.")
@click.option("--label", metavar="COLUMN", help="Column of a table that holds the truth.")
@click.option(
    "--value", "values", type=LABEL_OF_VALUE, multiple=True, metavar="VALUE=LABEL",
    help="The label that a value of the truth stands for (repeatable).",
)  # fmt: skip
@click.option("--ignore", multiple=True, metavar="COLUMN", help="A column to ignore (repeatable).")
@json_option
def quantize(
    *,
    source: str,
    form: str,
    calibration: Path | None,
    dynamic: bool,
    out: Path | None,
    version: str | None,
    data: Path | None,
    label: str | None,
    values: tuple[tuple[str, str], ...],
    ignore: tuple[str, ...],
    as_json: bool,
) -> int:
    """Make a variant of a bundle in float16 or eight bits.

    BUNDLE is a folder or the name of a bundled model. With --to int8 alone, weights are stored in eight bits and computing
    stays in float32; with --calibration, products are computed in eight bits. The variant is a bundle of its own, with another
    version. It is written only if its golden answers are the original's within `runtime.variant_tolerance` (0.01), and with
    --data if no figure loses more than `runtime.variant_loss` (0.005).

    Prints sizes, CPU time and the largest deviation. FILE is a table, NDJSON lines, or a folder, as for `models evaluate`.

    \b
    Examples:
      medqueue models quantize pneumonia-xray-28 --to fp16
      medqueue models quantize sepsis-risk --to int8 --calibration typical.csv --data ward.csv --label sepsis
    """
    from models.bundle import BundleRefused
    from service.cli import tables

    suffix = _suffix(form, calibration, dynamic=dynamic)
    if data is None and (label or values):
        raise click.UsageError("--label and --value say how the truth of --data is read: name it.")
    shown = Output(as_json=as_json)
    if dynamic:
        shown.note(BY_ROW)
    folder = out or Path(f"{_folder(source).name}-{suffix}")
    told = None if data is None else _LabelledFile(data, label, dict(values), ignore)
    try:
        with shown.waiting(f"{suffix}: converting, checking, measuring"):
            bundle, gain, found = _made(
                _folder(source), folder, suffix, version=version, calibration=calibration, data=told
            )
    except FileExistsError:
        raise click.UsageError(f"{folder} is there already: name a new folder by --out.") from None
    except BundleRefused as refused:
        faults = [asdict(fault) for fault in refused.faults]
        shown.show({"faults": faults}, lambda: tables.faults(faults))
        return ExitCode.FAILED
    shown.show(_document(folder, bundle, gain, found), lambda: _tables(folder, bundle, gain, found))
    return ExitCode.OK


def _suffix(form: str, calibration: Path | None, *, dynamic: bool) -> str:
    """The scheme that the options name. Raises click.UsageError."""
    if form == "fp16" and (calibration is not None or dynamic):
        raise click.UsageError("--calibration and --dynamic are for --to int8.")
    if calibration is not None and dynamic:
        raise click.UsageError("With --calibration the scales are static: choose it or --dynamic.")
    if calibration is not None:
        return "int8-static"
    return "int8-dynamic" if dynamic else form


def _folder(source: str) -> Path:
    """The folder of a bundle: one that comes with medqueue, by its name, or any other. Raises click.UsageError."""
    from models.bundle import bundled

    folder = next((each for each in bundled() if each.name == source), Path(source))
    if not folder.is_dir():
        raise click.UsageError(f"{source} is neither a bundled model nor a folder: name a bundle.")
    return folder


def _made(
    source: Path,
    folder: Path,
    suffix: str,
    *,
    version: str | None,
    calibration: Path | None,
    data: _LabelledFile | None,
) -> tuple[Bundle, Gain, list[Loss]]:
    """Raises BundleRefused, FileExistsError and click.UsageError."""
    from models.variants.making import write_variant
    from models.variants.schemes import SCHEMES
    from service.cli.evaluation.local import read_cases

    scheme: Scheme = SCHEMES[suffix]
    pipeline = _pipeline(source)
    cases = [] if calibration is None else read_cases(calibration, pipeline, None)
    found: list[Loss] = []
    measure = None if data is None else _measure(pipeline, data, found)
    bundle, gain = write_variant(
        source, folder, scheme, version=version, calibration=[each.case for each in cases], measure=measure
    )
    return bundle, gain, found


def _pipeline(source: Path) -> Pipeline:
    """Raises BundleRefused."""
    from models.bundle import read_manifest, side_files
    from models.pipelines import load_pipeline

    return load_pipeline(read_manifest(source), side_files(source))


def _measure(pipeline: Pipeline, data: _LabelledFile, found: list[Loss]) -> Measure:
    """What measures both models on the labelled file, and adds to `found`. Raises click.UsageError."""
    try:
        from service.cli.evaluation import losses
    except ModuleNotFoundError:
        raise click.UsageError(EXTRA) from None
    from service.cli.evaluation import labelled
    from service.cli.evaluation.local import read_cases

    if data.label is None and labelled.form_of(data.path) in labelled.TABLES:
        raise click.UsageError("Name the column that holds the truth with --label COLUMN.")
    cases = read_cases(data.path, pipeline, data.label, data.ignore)
    if any(each.truth is None for each in cases):
        raise click.UsageError(f"{data.path} holds a case without a truth: give each one its `expected`.")

    def measure(original: LocalModel, variant: LocalModel) -> Figures:
        found.extend(losses.losses(original, variant, cases, data.values))
        losses.check_losses(found, original.manifest.runtime.variant_loss)
        return losses.as_metrics(found, len(cases), data.path.name)

    return measure


def _document(folder: Path, bundle: Bundle, gain: Gain, found: Sequence[Loss]) -> dict[str, Any]:
    return {
        "folder": str(folder),
        "name": bundle.manifest.name,
        "version": bundle.manifest.version,
        "digest": bundle.digest,
        "precision": bundle.manifest.runtime.precision,
        "form": gain.said,
        "bytes": {"before": gain.bytes_before, "after": gain.bytes_after},
        "cpu_ms": {"before": gain.cpu_ms_before, "after": gain.cpu_ms_after},
        "deviation": {
            "largest": gain.deviation.value,
            "case": gain.deviation.case,
            "place": gain.deviation.place,
            "allowed": gain.tolerance,
        },
        "figures": [asdict(each) for each in found],
    }


def _tables(folder: Path, bundle: Bundle, gain: Gain, found: Sequence[Loss]) -> Any:
    from rich.console import Group

    from service.cli.tables import fields, listing

    known = {
        "folder": str(folder),
        "name": bundle.manifest.name,
        "version": bundle.manifest.version,
        "digest": bundle.digest,
        "form": gain.said,
        "size": f"{gain.bytes_before / 1e6:.3f} to {gain.bytes_after / 1e6:.3f} MB"
        f" ({_change(gain.bytes_before, gain.bytes_after)})",
        "CPU per item": f"{gain.cpu_ms_before:.3f} to {gain.cpu_ms_after:.3f} ms"
        f" ({_change(gain.cpu_ms_before, gain.cpu_ms_after)})",
        "deviation": f"{gain.deviation}; {gain.tolerance:g} is allowed",
    }
    parts: list[Any] = [fields(known.items())]
    if found:
        from service.cli.evaluation.losses import written

        rows = [(each.name, written(each.before), written(each.after)) for each in found]
        parts.append(listing(("FIGURE", "BEFORE", "AFTER"), rows, empty=""))
    return Group(*parts)


def _change(before: float, after: float) -> str:
    return f"{after / before - 1:+.0%}"
