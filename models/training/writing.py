"""The files of a bundle that a training script writes: metrics.json, manifest.toml, CARD.md, golden.json."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

DIGITS = 4


def rounded(value: object) -> object:
    """Figures with four digits after the point, in nested tables and lists; what is no number stays."""
    if isinstance(value, Mapping):
        return {str(key): rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(each) for each in value]
    return value if value is None or isinstance(value, int | str) else round(float(value), DIGITS)  # type: ignore[arg-type]  # a number of numpy


def flat(report: Mapping[str, object]) -> dict[str, object]:
    """A report in one table: a table's figures by `name_key`, an interval [low, high] by `name_low` and `name_high`."""
    found: dict[str, object] = {}
    for name, figure in report.items():
        if isinstance(figure, Mapping):
            found |= {f"{name}_{key}": each for key, each in flat(figure).items()}
        elif isinstance(figure, list):
            low, high = figure
            found |= {f"{name}_low": low, f"{name}_high": high}
        else:
            found[name] = figure
    return found


def write_report(folder: Path, report: Mapping[str, object], **texts: object) -> None:
    """Write metrics.json, and from the templates `manifest.template.toml` and `card.template.md` manifest and card.

    A template names a figure of the flat report as `$name`, and all of them, as lines of TOML, as `$metrics`; `texts`
    are more that it may name. Figures are rounded the same in all three files.
    """
    figures = rounded(report)
    assert isinstance(figures, dict)
    (folder / "metrics.json").write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n")
    known = flat(figures)
    lines = "\n".join(f"{name} = {json.dumps(figure, ensure_ascii=False)}" for name, figure in known.items())
    for template, written in (("manifest.template.toml", "manifest.toml"), ("card.template.md", "CARD.md")):
        text = Template((folder / template).read_text())
        (folder / written).write_text(text.substitute(known, metrics=lines, **texts))


def write_golden(
    folder: Path,
    cases: Sequence[tuple[str, object]],
    *,
    tolerance: float | Mapping[str, float] | None = None,
) -> None:
    """The inputs of golden.json, each with a note; `models seal --golden` adds what the model answers.

    `tolerance` is what answers may differ by on another processor, of all cases or by note; the default of a golden case if
    omitted.
    """
    found = []
    for note, value in cases:
        within = tolerance.get(note) if isinstance(tolerance, Mapping) else tolerance
        more = {} if within is None else {"tolerance": within}
        found.append({"note": note, "input": value, "expected": {}, **more})
    (folder / "golden.json").write_text(json.dumps({"cases": found}, indent=1, ensure_ascii=False) + "\n")
