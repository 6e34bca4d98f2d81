"""`medqueue models evaluate`: how well a published model does on a labelled file."""

from __future__ import annotations

from dataclasses import asdict, astuple, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from service.cli.exits import ExitCode
from service.cli.options import FiniteRange, Pair, model_options, over_api

if TYPE_CHECKING:
    from service.cli.client import ApiClient, Json
    from service.cli.evaluation.figures import Evaluation
    from service.cli.evaluation.labelled import Note
    from service.cli.evaluation.scoring import Scored
    from service.cli.output import Output

EXTRA = "medqueue models evaluate needs scikit-learn and matplotlib: pip install 'medqueue[evaluate]'."


UNSCORED_HEAD = ("NOT SCORED", "CODE", "WHY")
TASK_HEAD = ("TASK", "TRUTH KNOWN", "ANSWERED", "ABSTAINED")
LABEL_OF_VALUE = Pair("VALUE=LABEL", "1=malignant", last=True)


@click.command("evaluate")
@click.argument("reference", metavar="NAME[@VERSION]")
@click.option(
    "--data",
    required=True,
    type=click.Path(exists=True, path_type=Path),
    metavar="FILE",
    help="Labelled cases.",
)
@click.option("--label", metavar="COLUMN", help="Column of a table that holds the truth.")
@click.option(
    "--task", "columns", type=Pair("TASK=COLUMN", "solubility=log_solubility"), multiple=True, metavar="TASK=COLUMN",
    help="Of a model with several tasks, the column of a table that holds the truth of one (repeatable).",
)  # fmt: skip
@click.option(
    "--value", "values", type=LABEL_OF_VALUE, multiple=True, metavar="VALUE=LABEL",
    help="The label that a value of the truth stands for (repeatable).",
)  # fmt: skip
@click.option(
    "--group", "groups", multiple=True, metavar="COLUMN", help="Figures by subgroup too (repeatable)."
)
@click.option(
    "--missing", multiple=True, metavar="TEXT", help="A text in a CSV that means missing (repeatable)."
)
@click.option("--decimal", metavar="CHARACTER", help="Decimal point of a CSV.")
@click.option("--delimiter", metavar="CHARACTER", help="Between the cells of a CSV; detected if omitted.")
@click.option("--ignore", multiple=True, metavar="COLUMN", help="A column to ignore (repeatable).")
@click.option(
    "--batch", "batched", is_flag=True, help="Score as one batch instead of jobs; a table always is."
)
@click.option(
    "--wait",
    "wait_s",
    type=FiniteRange(min=1),
    default=600,
    show_default=True,
    metavar="S",
    help="Seconds for one job.",
)
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.html",
    help="Write a page with plots.",
)
@model_options
@over_api
def evaluate(
    api: ApiClient,
    out: Output,
    *,
    reference: str,
    data: Path,
    values: tuple[tuple[str, str], ...],
    report: Path | None,
    **how: Any,
) -> int:
    """Score labelled cases and compare the answers with the truth.

    The cases go through the running service. FILE is a table (.csv, .tsv, .parquet) with a column --label or columns
    --task, lines (.ndjson, .jsonl) of {"input": ..., "expected": ...}, a folder with a folder of files for each label, or a
    folder or ZIP archive with index.ndjson, lines of {"file": ..., "expected": ...}. Prints figures with 95 % intervals, by
    subgroup too.

    \b
    Examples:
      medqueue models evaluate breast-cancer-wisconsin --data ward.csv --label diagnosis --value M=malignant --value B=benign
      medqueue models evaluate molecule-properties --data esol.csv --task solubility=log_solubility
      medqueue models evaluate pneumonia-xray-28 --data xrays/ --batch --report xrays.html
      medqueue models evaluate nuclei-segmentation --data drawn.zip --batch --report nuclei.html
    """
    try:
        from service.cli.evaluation.classes import check_values
        from service.cli.evaluation.comparison import evaluated
    except ModuleNotFoundError:
        raise click.UsageError(EXTRA) from None
    if report is not None and not report.absolute().parent.is_dir():
        raise click.UsageError(f"--report {report}: there is no folder {report.parent}; make it first.")
    model = api.model(reference)
    check_values(dict(values), model["labels"])
    notes: list[str] = []
    scored = _scored(api, out, model, data, values=dict(values), note=notes.append, **how)
    found = evaluated(scored, model["labels"], dict(values), model["task"])
    notes += found.notes
    found = replace(found, notes=notes)
    for told in notes:
        out.note(told)
    if report is not None:
        from service.cli.evaluation.report import page

        report.write_text(page(model, data.name, found), encoding="utf-8")
        out.note(f"{report}: keep it as you keep the data.")
    out.show(_document(model, found), lambda: _tables(found))
    return ExitCode.OK


def _scored(
    api: ApiClient,
    out: Output,
    model: Json,
    data: Path,
    *,
    label: str | None,
    columns: tuple[tuple[str, str], ...],
    groups: tuple[str, ...],
    batched: bool,
    wait_s: float,
    options: tuple[tuple[str, Any], ...],
    values: dict[str, str],
    note: Note,
    **reading: Any,
) -> list[Scored]:
    """The cases of a file, scored. `reading` is how a table is read. Raises click.UsageError."""
    from service.cli.evaluation import comparison, indexed, labelled, scoring

    form = labelled.form_of(data)
    request = {
        "model": f"{model['name']}@{model['version']}",
        **({"options": dict(options)} if options else {}),
    }
    if form in labelled.TABLES:
        if (label is None) is not bool(columns):
            raise click.UsageError(
                "Name the column that holds the truth with --label COLUMN, or those of several tasks with --task TASK=COLUMN."
            )
        told = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in reading.items()
            if value
        }
        return scoring.of_table(
            api,
            out,
            {**request, "format": form, **told},
            data,
            truth=dict(columns) if label is None else label,
            groups=groups,
            note=note,
        )
    if label is not None or columns or any(reading.values()):
        raise click.UsageError(
            "--label, --task, --missing, --decimal, --delimiter and --ignore are for tables."
        )
    if form == labelled.INDEXED:
        cases = indexed.read_indexed(data, groups, note)
    elif form == "folder":
        if groups:
            raise click.UsageError("A folder tells no groups.")
        cases = labelled.read_folder(data, note)
    else:
        cases = labelled.read_lines(data, groups)
    comparison.check_truths(cases, model["labels"], values, model["task"])
    if batched:
        return scoring.by_batch(api, out, request, cases, note)
    return scoring.by_jobs(api, out, request, cases, wait_s)


def _document(model: Any, found: Evaluation) -> dict[str, Any]:
    return {
        "model": f"{model['name']}@{model['version']}",
        "task": found.task,
        "counts": found.counts,
        "problems": found.problems,
        "notes": found.notes,
        "not_scored": [asdict(each) for each in found.unscored],
        **({"tasks": {name: asdict(each) for name, each in found.tasks.items()}} if found.tasks else {}),
        "figures": [asdict(each) for each in found.figures],
        "mistakes": found.mistakes,
    }


def _tables(found: Evaluation) -> Any:
    from rich.console import Group

    from service.cli.tables import fields, listing

    rows = [
        (
            each.group,
            each.name,
            f"{each.value:.4f}",
            "" if each.low is None else f"{each.low:.4f} to {each.high:.4f}",
            str(each.rows),
        )
        for each in found.figures
    ]
    head = ("GROUP", "FIGURE", "VALUE", "95 % INTERVAL", "CASES")
    parts = [fields([*found.counts.items(), *found.problems.items()])]
    if found.unscored:
        parts.append(listing(UNSCORED_HEAD, map(astuple, found.unscored), empty=""))
    if found.tasks:
        ended = [(name, *astuple(each)) for name, each in found.tasks.items()]
        parts.append(listing(TASK_HEAD, ended, empty=""))
    return Group(*parts, listing(head, rows, empty=""))
