"""The HTML page of an evaluation: tables, and plots as SVG inside the page. It holds truths and answers, and of
inputs pictures (see gallery) and parts of signals (see traces) alone."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple
from functools import partial
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Plot
from numpy.typing import NDArray

from service.cli.evaluation.figures import Evaluation
from service.cli.evaluation.gallery import gallery
from service.cli.evaluation.traces import Trace

NOTE = (
    "Scored through the running service. Intervals are those of the percentile bootstrap over cases. "
    "This page holds truths and answers of cases{inputs}: keep it as you keep the data."
)
OF_CALIBRATION = (
    "The calibration error may lie at the lower end of its interval, or below: cases drawn again are fewer different ones in "
    "each bin, so that their mean probability and their share differ more."
)
HEADINGS = {
    "probability": "probability of the answer",
    "probability_positive": "probability of the positive class",
}
MISTAKES = 50
MOST_CLASSES = 40  # of a confusion matrix that can be read
BINS = 10
SQUARE, STRIP = (4.4, 4.0), (4.4, 1.9)  # inches
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #1a1a1a; }
table { border-collapse: collapse; margin: 1rem 0; }
td, th { padding: .25rem .75rem; border-bottom: 1px solid #ddd; text-align: left; }
td.number { text-align: right; font-variant-numeric: tabular-nums; } figure { display: inline-block; margin: 1rem 1rem 0 0; }
figcaption { font-weight: 600; }
.mistake figcaption { font-weight: 400; max-width: 30rem; } .views { display: flex; gap: .5rem; } p.note { color: #555; }
"""


def page(model: Mapping[str, Any], data: str, evaluation: Evaluation) -> str:
    """The whole page of one evaluation of a model's version on a file."""
    title = f"{model['name']} {model['version']} on {data}"
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        f'<p class="note">{NOTE.format(inputs=_inputs(evaluation))}</p>',
        *[f"<p>{html.escape(told)}</p>" for told in evaluation.notes],
        _table(("", "cases"), [*evaluation.counts.items(), *evaluation.problems.items()]),
        *_unscored(evaluation),
        *_tasks(evaluation),
        "<h2>Figures</h2>",
        _table(("group", "figure", "value", "95 % interval", "cases"), _rows(evaluation)),
        *_of_calibration(evaluation),
        *[
            f"<figure><figcaption>{html.escape(name)}</figcaption>{svg}</figure>"
            for name, svg in _plots(evaluation)
        ],
        f"<h2>Mistakes</h2>{_mistakes(evaluation.mistakes)}",
        gallery(evaluation.pictures),
        *_traces(evaluation.traces),
    ]
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _inputs(evaluation: Evaluation) -> str:
    """What of the inputs the page shows."""
    pictures = ", small copies of images" if evaluation.pictures else ""
    return pictures + (", parts of signals" if evaluation.traces else "")


def _of_calibration(evaluation: Evaluation) -> Iterator[str]:
    if any(each.name.endswith("calibration error") for each in evaluation.figures):
        yield f'<p class="note">{OF_CALIBRATION}</p>'


def _unscored(evaluation: Evaluation) -> Iterator[str]:
    """The first cases that were not scored, and why."""
    if evaluation.unscored:
        yield _table(("not scored", "code", "why"), map(astuple, evaluation.unscored))


def _tasks(evaluation: Evaluation) -> Iterator[str]:
    """How many cases each task of several answered and abstained from."""
    if evaluation.tasks:
        rows = [(name, *astuple(each)) for name, each in evaluation.tasks.items()]
        yield _table(("task", "truth known", "answered", "abstained"), rows)


def _rows(evaluation: Evaluation) -> Iterator[tuple[object, ...]]:
    for each in evaluation.figures:
        between = "" if each.low is None else f"{each.low:.4f} to {each.high:.4f}"
        yield each.group, each.name, f"{each.value:.4f}", between, each.rows


def _mistakes(items: Sequence[Mapping[str, Any]]) -> str:
    """The worst as a table, and how many there are."""
    if not items:
        return "<p>None.</p>"
    count = f"The first {MISTAKES} of {len(items)}" if len(items) > MISTAKES else f"{len(items)} in all"
    shown = items[:MISTAKES]
    names = tuple(
        dict.fromkeys(name for item in shown for name in item)
    )  # tasks of numbers and of classes differ
    rows = [[_shown(item.get(name, "")) for name in names] for item in shown]
    head = [HEADINGS.get(name, name) for name in names]
    return f'<p class="note">{count}, the worst first.</p>{_table(head, rows)}'


def _shown(value: object) -> object:
    return f"{value:.4g}" if isinstance(value, float) else value


def _table(head: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    cells = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(_cell(value) for value in row)}</tr>" for row in rows)
    return f"<table><tr>{cells}</tr>{body}</table>"


def _cell(value: object) -> str:
    number = isinstance(value, int) or re.fullmatch(r"-?[\d.]+(e[+-]?\d+)?", str(value)) is not None
    mark = ' class="number"' if number else ""
    return f"<td{mark}>{html.escape(str(value))}</td>"


def _plots(evaluation: Evaluation) -> Iterator[tuple[str, str]]:
    if evaluation.tasks:
        yield from (plot for name, curves in evaluation.curves.items() for plot in _of_task(name, curves))
        return
    if evaluation.task == "regression":
        truth, given = evaluation.curves["pairs"]
        yield "Answer against truth", _drawn(lambda axes: _scatter(axes, truth, given))
        return
    if "boxes" in evaluation.curves:
        boxes = evaluation.curves["boxes"]
        yield "Precision and recall of the boxes that are answered", _drawn(lambda axes: _boxes(axes, boxes))
    if "table" not in evaluation.curves:
        return
    table = evaluation.curves["table"]
    if table.positive is not None:
        score, positive = table.probabilities[:, table.positive], table.truth == table.positive
        label = table.names[table.positive]
        if 0 < positive.sum() < len(positive):
            yield "ROC", _drawn(lambda axes: _roc(axes, score, positive, label))
            yield "Precision and recall", _drawn(lambda axes: _precision_recall(axes, score, positive, label))
        yield "Reliability", _drawn(lambda axes: _reliability(axes, score, positive, label, label))
    else:
        sure, right = table.probabilities.max(1), table.probabilities.argmax(1) == table.truth
        yield (
            "Reliability",
            _drawn(lambda axes: _reliability(axes, sure, right, "the likeliest class", "right")),
        )
    if len(table.names) <= MOST_CLASSES:
        yield "Confusion", _drawn(lambda axes: _confusion(axes, table))


def _of_task(name: str, curves: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """One plot of one task of several: ROC of two classes, answers against truths of numbers."""
    if "pairs" in curves:
        yield f"{name}: answer against truth", _drawn(lambda axes: _scatter(axes, *curves["pairs"]))
    elif "table" in curves:
        table = curves["table"]
        score, positive = table.probabilities[:, table.positive], table.truth == table.positive
        if 0 < positive.sum() < len(positive):
            yield f"{name}: ROC", _drawn(lambda axes: _roc(axes, score, positive, "the positive class"))


def _traces(traces: Sequence[Trace]) -> Iterator[str]:
    """The signals around the worst mistakes."""
    if traces:
        yield "<h2>Signals of mistakes</h2>"
    for each in traces:
        svg = _drawn(partial(_trace, shown=each), STRIP)
        yield f'<figure class="mistake"><figcaption>{html.escape(each.caption)}</figcaption>{svg}</figure>'


def _drawn(draw: Callable[[Axes], None], size: tuple[float, float] = SQUARE) -> str:
    """A plot of this size in inches as an SVG element: text stays text, and the same data give the same bytes."""
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "medqueue"}):
        plot = Plot(figsize=size, layout="constrained")
        draw(plot.subplots())
        written = io.StringIO()
        plot.savefig(written, format="svg", metadata={"Date": None})
    return written.getvalue()[written.getvalue().index("<svg") :]


def _roc(axes: Axes, score: NDArray[np.float64], positive: NDArray[np.bool_], label: str) -> None:
    from sklearn.metrics import roc_curve

    false_alarms, found, _ = roc_curve(positive, score)
    axes.plot(false_alarms, found)
    axes.plot([0, 1], [0, 1], linestyle=":", color="grey")
    axes.set(xlabel="1 - specificity", ylabel=f"sensitivity for {label}")


def _precision_recall(
    axes: Axes, score: NDArray[np.float64], positive: NDArray[np.bool_], label: str
) -> None:
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(positive, score)
    axes.plot(recall, precision)
    axes.axhline(positive.mean(), linestyle=":", color="grey")
    axes.set(xlabel=f"recall of {label}", ylabel=f"precision of {label}", ylim=(0, 1.02))


def _boxes(axes: Axes, curves: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]) -> None:
    """Of each class to the recall of its threshold: boxes of lower scores are not answered."""
    for name, (recall, precision) in curves.items():
        axes.plot([0, *recall], [precision[0], *precision], label=name, drawstyle="steps-pre")
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02))
    if curves:
        axes.legend(loc="lower left")


def _trace(axes: Axes, shown: Trace) -> None:
    axes.plot(shown.times_s, shown.values_mv, linewidth=0.8)
    axes.axvline(shown.beat_s, linestyle=":", color="grey")
    axes.set(xlabel="s", ylabel="mV")


def _reliability(
    axes: Axes, score: NDArray[np.float64], right: NDArray[np.bool_], of_what: str, being: str
) -> None:
    places = np.minimum((score * BINS).astype(int), BINS - 1)
    bins = np.unique(places)
    means = [score[places == place].mean() for place in bins]
    axes.plot(means, [right[places == place].mean() for place in bins], marker="o")
    axes.plot([0, 1], [0, 1], linestyle=":", color="grey")
    axes.set(xlabel=f"probability of {of_what}", ylabel=f"share that is {being}", xlim=(0, 1), ylim=(0, 1))


def _confusion(axes: Axes, table: Any) -> None:
    counts = np.zeros((len(table.names), len(table.names) + 1), int)
    np.add.at(counts, (table.truth, np.where(table.answers < 0, len(table.names), table.answers)), 1)
    axes.imshow(counts, cmap="Blues")
    if len(table.names) <= 12:
        for row, column in np.ndindex(counts.shape):
            count = counts[row, column]
            shade = (
                "white" if count > counts.max() / 2 else "black"
            )  # of the number, on a dark cell or a light one
            axes.text(column, row, str(count), ha="center", va="center", fontsize=8, color=shade)
    axes.set_xticks(range(len(table.names) + 1), [*table.names, "abstained"], rotation=90, fontsize=7)
    axes.set_yticks(range(len(table.names)), table.names, fontsize=7)
    axes.set(xlabel="answer", ylabel="truth")


def _scatter(axes: Axes, truth: NDArray[np.float64], given: NDArray[np.float64]) -> None:
    axes.scatter(truth, given, s=8, alpha=0.6)
    ends = [min(truth.min(), given.min()), max(truth.max(), given.max())]
    axes.plot(ends, ends, linestyle=":", color="grey")
    axes.set(xlabel="truth", ylabel="answer")
