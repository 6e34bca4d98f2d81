"""Writes the bundle of a refit: changed graphs and parameters, another version, new golden answers, a section of the card."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import onnx

from models.bundle import CARD_NAME, Bundle, read_bundle, read_text
from models.checking import sealed
from models.derived import copy_files, new_folder
from models.manifest import MANIFEST_NAME, toml_table
from models.toml_text import toml_text
from models.variants.measuring import LocalModel

METRICS_NAME: Final = "metrics.json"
_NUMBERS: Final = re.compile(r"(\d+)\.(\d+)\.")


@dataclass(frozen=True)
class Change:
    """What a refit changes: graphs and side files by their path, outputs of `[graph]`, tables of `[parameters]`."""

    said: str
    graphs: Mapping[str, onnx.ModelProto] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Mapping[str, object]] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """What was measured and counted: metrics of the manifest, all of it for metrics.json, paragraphs of the card.

    `parameters` are tables of the manifest's that state figures.
    """

    metrics: Mapping[str, float | str]
    document: Mapping[str, object]
    card: str
    parameters: Mapping[str, Mapping[str, object]] = field(default_factory=dict)


# (the parent, the refit) -> what was measured. Raises BundleRefused where the refit is worse.
Measure = Callable[[LocalModel, LocalModel], Report]


def is_above(version: str, parent: str) -> bool:
    """Whether a version is above its parent's, by the precedence of https://semver.org/#spec-item-11."""
    return _precedence(version) > _precedence(parent)


def _precedence(version: str) -> tuple[object, ...]:
    numbers, _, early = version.partition("+")[0].partition("-")
    parts = [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in early.split(".")]
    return (*map(int, numbers.split(".")), not early, parts)


def raised(version: str, taken: Collection[str]) -> str:
    """The version after `version` that is not taken: the next minor one."""
    major, minor = map(int, _NUMBERS.match(version).groups())  # type: ignore[union-attr]  # the manifest is of this form
    while (found := f"{major}.{(minor := minor + 1)}.0") in taken:
        pass
    return found


def write_refit(parent: Path, folder: Path, found: Change, *, version: str, measure: Measure) -> Bundle:
    """Write and seal a refit of the bundle in `parent` into the new `folder`. Raises BundleRefused, or FileExistsError."""
    with new_folder(folder) as made:
        bundle = read_bundle(parent)
        copy_files(bundle, made, apart={*found.graphs, *found.files, CARD_NAME})
        _write_changed(made, found)
        table = _changed(toml_table(read_text(parent, MANIFEST_NAME)), found, version)
        _write_manifest(made, table)
        report = measure(LocalModel(parent), LocalModel(made))
        _merge(table.setdefault("parameters", {}), report.parameters)
        _write_manifest(made, {**table, "metrics": dict(report.metrics)})
        (made / CARD_NAME).write_text(_card(bundle, found, version, report.card), encoding="utf-8")
        text = json.dumps(report.document, indent=1, ensure_ascii=False) + "\n"
        (made / METRICS_NAME).write_text(text, encoding="utf-8")
        sealed(made, golden=True)
    return read_bundle(folder)


def _write_changed(folder: Path, found: Change) -> None:
    for path, model in found.graphs.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        onnx.save(model, str(folder / path))
    for path, content in found.files.items():
        (folder / path).write_bytes(content)


def _changed(table: dict[str, Any], found: Change, version: str) -> dict[str, Any]:
    table["version"] = version
    if found.outputs:
        graph = next(iter(table.get("graphs", {}).values()), None) or table.setdefault("graph", {})
        graph["outputs"] = graph.get("outputs", {}) | dict(found.outputs)
        graph.pop("classes", None)  # of a graph that no longer tells what it calls them
    _merge(table.setdefault("parameters", {}), found.parameters)
    return table


def _merge(parameters: dict[str, Any], more: Mapping[str, Mapping[str, object]]) -> None:
    for name, values in more.items():
        parameters[name] = parameters.get(name, {}) | dict(values)


def _write_manifest(folder: Path, table: Mapping[str, Any]) -> None:
    (folder / MANIFEST_NAME).write_text(toml_text({**table, "files": {}}), encoding="utf-8")


def _card(bundle: Bundle, found: Change, version: str, told: str) -> str:
    """The parent's card under the new version, with a section on what changed."""
    manifest = bundle.manifest
    title, _, rest = bundle.card.partition("\n")
    whole = f"{title.replace(manifest.version, version)}\n{rest}"
    section = (
        f"\n## Refit {version}\n\nMade of {manifest.name} {manifest.version} ({bundle.digest}) by `medqueue models refit`: "
        f"{found.said}. All figures above are of {manifest.version} or of versions before it; those of this version are here.\n"
        f"\n{told}\n"
    )
    return f"{whole.rstrip()}\n{section}"
