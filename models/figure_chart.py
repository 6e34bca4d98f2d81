"""The picture of a model's figures: each with its 95 % interval and its baselines, as SVG made of metrics.json.

Written by hand: it is a dozen kinds of elements, and the same figures must give the same bytes, which libraries of plots do not
promise from version to version.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

INTERVAL: Final = "_95"
# Words by which metrics.json names what a figure is compared with, before or after the figure's own name.
BASELINES: Final = (
    "baseline", "bm25", "forest", "forest_of_three", "gradient_boosting", "histogram", "lead", "logistic",
    "logistic_regression", "majority", "otsu", "random_forest", "retrieval", "ridge", "svm", "tfidf",
)  # fmt: skip
_CAPITALS: Final = {"auc": "AUC", "f1": "F1", "ppv": "PPV", "npv": "NPV", "ece": "ECE", "rmse": "RMSE", "mae": "MAE",
                    "r2": "R²", "ap": "AP", "map": "mAP", "ndcg": "nDCG"}  # fmt: skip
_ERRORS: Final = frozenset(("RMSE", "MAE"))
_CONTEXT: Final = frozenset(("groups", "subgroups"))
MOST_ROWS: Final = 24
WITHOUT_INTERVAL: Final = (
    "auc",
    "accuracy",
    "sensitivity",
    "specificity",
    "ppv",
    "npv",
    "f1",
    "macro_f1",
    "dice",
)

WIDTH, ROW, LABEL, MARGIN, HEAD = 720, 22, 250, 24, 58
BLUE, GREY, LINE, INK = "#1f5fa8", "#8a8a8a", "#d8d8d8", "#222222"


@dataclass(frozen=True)
class Figure:
    """One figure. `low` and `high` are its 95 % interval, if known; `baselines` are by name."""

    label: str
    value: float
    low: float
    high: float
    baselines: tuple[tuple[str, float], ...] = ()

    @property
    def is_share(self) -> bool:
        """Whether it lies between 0 and 1, and more is better; else it has a scale of its own."""
        return self.label.split(":")[0] not in _ERRORS and all(0 <= each <= 1 for each in self._all)

    @property
    def _all(self) -> list[float]:
        return [self.value, self.low, self.high, *(value for _, value in self.baselines)]

    def scale(self, shares: Sequence[Figure]) -> tuple[float, float]:
        """The ends of the axis it is drawn on: that of all shares, or from 0 to beyond its largest number."""
        if not self.is_share:
            return min(0.0, *self._all), max(self._all) * 1.1
        least = min(min(each._all) for each in shares)
        return int(least * 10) / 10, 1.0


def figures_of(metrics: Mapping[str, Any]) -> list[Figure]:
    """The figures that have an interval, in order; those of WITHOUT_INTERVAL if none has."""
    found = list(_with_interval(metrics, ()))
    if not found:
        found = [
            Figure(_worded(name, path), value, value, value)
            for path, name, value in _numbers(metrics, ())
            if name in WITHOUT_INTERVAL and 0 <= value <= 1
        ]
    return found[:MOST_ROWS]


def chart(title: str, metrics: Mapping[str, Any]) -> str | None:
    """The picture, as SVG; None if there is nothing to draw."""
    figures = figures_of(metrics)
    if not figures:
        return None
    height = HEAD + ROW * len(figures) + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        *_legend(title, figures),
        *(line for row, figure in enumerate(figures) for line in _drawn(row, figure, figures)),
    ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _with_interval(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[Figure]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _with_interval(value, (*path, name))
        elif name.endswith(INTERVAL) and isinstance(table.get(name.removesuffix(INTERVAL)), int | float):
            key = name.removesuffix(INTERVAL)
            yield Figure(_worded(key, path), table[key], value[0], value[1], tuple(_baselines(table, key)))


def _baselines(table: Mapping[str, Any], key: str) -> Iterator[tuple[str, float]]:
    for word in BASELINES:
        for name in (f"{key}_{word}", f"{word}_{key}"):
            if isinstance(table.get(name), int | float):
                yield word.replace("_", " "), table[name]


def _numbers(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str, float]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, (*path, name))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield path, name, value


def _worded(key: str, path: tuple[str, ...]) -> str:
    """Such as "AUC: under 55" for groups.under_55.auc."""
    context = " ".join(name.replace("_", " ") for name in path if name not in _CONTEXT)
    words = " ".join(_CAPITALS.get(word, word) for word in key.split("_"))
    return f"{words}: {context}" if context else words


def _legend(title: str, figures: Sequence[Figure]) -> Iterator[str]:
    yield _text(MARGIN, 22, title, size=14, weight="bold")
    words = "figure with its 95 % interval" if any(each.low < each.high for each in figures) else "figure"
    yield from _dot(MARGIN + 4, 40)
    yield _text(MARGIN + 14, 44, words, fill=INK)
    if named := list(dict.fromkeys(name for each in figures for name, _ in each.baselines)):
        yield from _diamond(LABEL, 40)
        yield _text(LABEL + 10, 44, ", ".join(named))


def _drawn(row: int, figure: Figure, figures: Sequence[Figure]) -> Iterator[str]:
    """A line of the picture: the label, the axis, the interval, the figure and its baselines."""
    low, high = figure.scale([each for each in figures if each.is_share])
    left, right, middle = LABEL, WIDTH - 130, HEAD + ROW * row + ROW // 2

    def at(value: float) -> float:
        return round(left + (value - low) / (high - low) * (right - left), 1)

    yield _text(LABEL - 10, middle + 4, figure.label, anchor="end")
    yield _line(left, middle, right, middle, LINE)
    for end, anchor in ((low, left), (high, right)):
        yield _line(anchor, middle - 4, anchor, middle + 4, LINE)
        if row == 0 or not figure.is_share:
            yield _text(anchor, middle - 6, f"{end:.3g}", size=9, anchor="middle", fill=GREY)
    if figure.low < figure.high:
        yield _line(at(figure.low), middle, at(figure.high), middle, BLUE, width=3)
    for _, value in figure.baselines:
        yield from _diamond(at(value), middle)
    yield from _dot(at(figure.value), middle)
    interval = f" ({figure.low:.3g} to {figure.high:.3g})" if figure.low < figure.high else ""
    yield _text(WIDTH - 122, middle + 4, f"{figure.value:.3g}{interval}", fill=INK)


def _text(
    across: float, down: float, words: str, *, size: int = 12, anchor: str = "start", weight: str = "normal", fill: str = INK
) -> str:  # fmt: skip
    return (
        f'<text x="{across:g}" y="{down:g}" font-size="{size}" text-anchor="{anchor}" font-weight="{weight}" '
        f'fill="{fill}">{escape(words)}</text>'
    )


def _line(left: float, top: float, right: float, bottom: float, colour: str, *, width: int = 1) -> str:
    ends = f'x1="{left:g}" y1="{top:g}" x2="{right:g}" y2="{bottom:g}"'
    return f'<line {ends} stroke="{colour}" stroke-width="{width}"/>'


def _dot(across: float, down: float) -> Iterator[str]:
    yield f'<circle cx="{across:g}" cy="{down:g}" r="4.5" fill="{BLUE}"/>'


def _diamond(across: float, down: float) -> Iterator[str]:
    corners = (
        f"{across:g},{down - 5:g} {across + 5:g},{down:g} {across:g},{down + 5:g} {across - 5:g},{down:g}"
    )
    yield f'<polygon points="{corners}" fill="#ffffff" stroke="{GREY}" stroke-width="1.5"/>'
