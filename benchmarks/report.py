"""The figures as a table on a terminal, as docs/benchmarks.md and as JSON."""

import json
import textwrap
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figure, number
from benchmarks.gpu import report as gpu
from benchmarks.plain import settings as plain
from benchmarks.plan import Plan
from benchmarks.run import Result
from benchmarks.sections import SECTIONS, Section
from benchmarks.systems import MEDQUEUE, PLAIN
from benchmarks.targets import TARGETS, ratio

ABSENT = "-"
WIDTH = 116
HEADLINE = "cpu_fetched"
Cells = tuple[str, str, str, str, str]

HEAD = """\
# Benchmarks

medqueue compared with a plain twin, which is what people usually write for the same service (`benchmarks/plain/`). Same model,
same load, one machine, one run. Written by `make bench`; the figures are in `benchmarks/results/latest.json`, too.

CPU seconds come first: those of all server processes, which are API, workers, scheduler, Postgres with every backend
and Redis. On a busy machine they rise for both systems, which are measured alternately: compare the ratio.
"""

FAIRNESS = """\
## What is compared

The plain twin is Flask behind gunicorn, one Celery task a job on a prefork pool, one row a job through the SQLAlchemy
ORM, the input checked by pydantic, one ONNX Runtime session a process with one thread. It has no API keys, no
encryption and no audit trail, and pays for none of them; medqueue runs with all three, as it always does. Both have
their own Postgres and Redis, started alike, with fsync on. Before measuring, both answer the model's golden cases
correctly and run some hundred jobs. Both are up during the whole run and are measured alternately.
"""


def print_tables(console: Console, result: Result) -> None:
    """Every section as a table, then what was promised."""
    for section, rows in _sections(result):
        table = Table(title=section.title, title_justify="left")
        for position, name in enumerate(_columns(result)):
            table.add_column(name, justify="left" if position in {0, 1} else "right")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    for line in _promises(result):
        console.print(line, markup=False)


def markdown(result: Result) -> str:
    """The page docs/benchmarks.md."""
    parts = [HEAD, _headline(result), _promised_table(result)]
    for section, rows in _sections(result):
        note = (
            f"\nApart from the others: {result.apart[section.name]}.\n"
            if section.name in result.apart
            else ""
        )
        parts += [
            f"## {section.title}\n\n{textwrap.fill(section.method, WIDTH)}\n{note}",
            _table(_columns(result), rows),
        ]
    return "\n".join([*parts, FAIRNESS, _settings(result), _circumstances(result)])


def write(result: Result, page: Path, figures: Path) -> None:
    """Write the page and the JSON."""
    page.parent.mkdir(exist_ok=True)
    figures.parent.mkdir(exist_ok=True)
    page.write_text(_with_gpu(markdown(result)))
    figures.write_text(as_json(result))


def _with_gpu(page: str) -> str:
    """The page with what `make gpu` found, where that was taken in: another machine did."""
    return (
        gpu.placed(page, gpu.section(json.loads(gpu.FIGURES.read_text()))) if gpu.FIGURES.exists() else page
    )


def as_json(result: Result) -> str:
    """Everything a run found, each figure with its median and its repeats."""
    content = asdict(result)
    content["figures"] = {
        section: {name: [_plain(figure) for figure in found] for name, found in systems.items()}
        for section, systems in result.figures.items()
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def from_json(text: str) -> Result:
    """What `as_json` wrote."""
    content = json.loads(text)
    figures = {
        section: {name: [_read(each) for each in found] for name, found in systems.items()}
        for section, systems in content.pop("figures").items()
    }
    return Result(**{**content, "plan": Plan(**content["plan"])}, figures=figures)


def added(result: Result, to: Result) -> Result:
    """`to`, with the sections of `result` added or replaced, and a note of when and how these were measured."""
    note = f"measured on {result.date} by `{result.command}`; other processes used {100 * result.others:.0f} % of all cores"
    return replace(
        to, figures=to.figures | result.figures, apart=to.apart | dict.fromkeys(result.figures, note)
    )


def _read(table: dict[str, Any]) -> Figure:
    return Figure(table["key"], table["label"], table["unit"], tuple(table["repeats"]))


def _headline(result: Result) -> str:
    ours, twins = (result.of_system(name).get(HEADLINE) for name in (MEDQUEUE, PLAIN))
    share = ratio(ours, twins)
    if ours is None or twins is None or share is None:
        return ""
    return f"**medqueue used {ours.text} CPU seconds per 1,000 jobs, the plain twin {twins.text}: {100 * share:.0f} %.**\n"


def _plain(figure: Figure) -> dict[str, Any]:
    rounded = [float(f"{value:.5g}") for value in figure.values]
    return {"key": figure.key, "label": figure.label, "unit": figure.unit,
            "value": float(f"{figure.value:.5g}"), "repeats": rounded}  # fmt: skip


def _sections(result: Result) -> Iterator[tuple[Section, list[Cells]]]:
    for section in SECTIONS:
        if section.name in result.figures:
            yield section, _rows(result.figures[section.name])


def _rows(found: dict[str, list[Figure]]) -> list[Cells]:
    by_key = {name: {figure.key: figure for figure in figures} for name, figures in found.items()}
    first_seen = {figure.key: figure for figures in found.values() for figure in figures}
    return [_row(figure, by_key) for figure in first_seen.values()]


def _row(figure: Figure, by_key: dict[str, dict[str, Figure]]) -> Cells:
    ours, twins = (by_key.get(name, {}).get(figure.key) for name in (MEDQUEUE, PLAIN))
    share = ratio(ours, twins)
    return (
        figure.label,
        figure.unit,
        twins.text if twins else ABSENT,
        ours.text if ours else ABSENT,
        ABSENT if share is None else f"{share:.2f}",
    )


def _columns(result: Result) -> Cells:
    return "figure", "unit", result.titles[PLAIN], result.titles[MEDQUEUE], "medqueue / twin"


def _promises(result: Result) -> list[str]:
    return [
        ": ".join((label, f"{value}, promised {limit}, {held}"))
        for label, value, limit, held in _kept(result)
    ]


def _promised_table(result: Result) -> str:
    return _table(("promised", "measured", "bound", "held"), _kept(result))


def _kept(result: Result) -> list[tuple[str, str, str, str]]:
    lines = []
    for target in TARGETS:
        value = target.reached(result)
        if value is not None:
            bound = f"{'at least' if target.at_least else 'at most'} {target.limit:,g}"
            lines.append((target.label, number(value), bound, "yes" if target.holds(value) else "no"))
    return lines


def _table(columns: tuple[str, ...], rows: list[Any]) -> str:
    lines = [columns, tuple("---" for _ in columns), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def _settings(result: Result) -> str:
    commands = "\n\n".join(
        f"{result.titles[name]}:\n\n```\n" + "\n".join(lines) + "\n```"
        for name, lines in result.settings.items()
    )
    celery = ", ".join(f"`{name}={value!r}`" for name, value in plain.CELERY.items())
    pool = f"Its SQLAlchemy pool has {plain.POOL_SIZE} connections a process."
    return f"{commands}\n\nThe twin's Celery settings: {celery}. {pool}\n"


def _circumstances(result: Result) -> str:
    plan, machine = result.plan, {**result.machine, **result.versions}
    facts = ", ".join(f"{name} {value}" for name, value in machine.items())
    return (
        "## Circumstances\n\n"
        f"{facts}. Model {result.model}.\n\n"
        f"Measured on {result.date} with seed {plan.seed} in {result.took_s:.0f} s: {plan.jobs:,} jobs of {plan.clients} "
        f"clients and {plan.bulk_jobs:,} in bulk, each {plan.repeats} times (medians are shown), {plan.probe_jobs} probes. "
        f"Other processes used {100 * result.others:.0f} % of all cores meanwhile. Reproduce it with:\n\n"
        f"```\n{result.command}\n```\n"
    )
