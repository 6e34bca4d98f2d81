"""`python -m benchmarks.refits --data FOLDER`: a recommender that is refitted hospital after hospital, against the frozen one.

FOLDER holds the files of eICU's demo that medication-recommender is trained with (its train.py names the source and the
licence). The parent is trained on the first third of the stays, in the order of the hospitals' numbers, with the catalogue of
the bundled model. Each further part is whole hospitals of PART stays or more: `medqueue models refit` updates by one part, and
holds out the next. Frozen and updated model are compared on all stays held out, beside a model that is trained again on all
stays before each part. Intervals resample hospitals. Nothing is kept but what is printed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from benchmarks.night import bundle_of
from models.bundle import Bundle, BundleRefused, read_bundle
from models.checking import sealed
from models.derived import copy_files
from models.manifest import MANIFEST_NAME, MODEL
from models.pipelines import Array, Run
from models.refits.recommenders import ranked
from models.training.export import save
from models.training.recommenders import Linear, ease_with_context
from models.training.stay_recommenders import context_columns, fed
from models.training.stays import Stay, read_stays
from models.variants.measuring import LocalModel
from service.cli.evaluation.gains import compared_columns
from service.cli.refitting.fitting import Asked, refitted

NAME = "medication-recommender"
FIT = ease_with_context(100.0, 150.0, 60.0, popularity_power=0.1)  # as its train.py
PART = 140
Floats = NDArray[np.float64]
Figures = Mapping[str, Floats]


@dataclass(frozen=True)
class Stays:
    """Stays in the order of their hospitals: their drugs [N,I] and context [N,C], as rows of a file, and where parts begin."""

    items: Floats
    context: Floats
    lines: Sequence[str]
    hospitals: Sequence[str]
    starts: Sequence[int]


def read(data: Path, bundle: Path) -> Stays:
    """The stays with a drug of the bundle's catalogue."""
    sys.path.insert(0, str(bundle))  # the modules beside train.py
    ordered: Mapping[str, frozenset[str]] = importlib.import_module("drug_catalogue").orders(data)[0]
    drugs = [item.id for item in LocalModel(bundle).pipeline.catalogue.items]  # type: ignore[attr-defined]  # a recommender
    found = [
        stay for name, stay in read_stays(data).items() if ordered.get(name, frozenset()) & frozenset(drugs)
    ]
    stays = sorted(found, key=lambda stay: (int(stay.hospital), stay.id))
    columns = context_columns(bundle, stays)
    return Stays(
        np.array([[drug in ordered[stay.id] for drug in drugs] for stay in stays], np.float64),
        np.array([fed(columns, stay)[0] for stay in stays]),
        [_line(stay, sorted(ordered[stay.id] & frozenset(drugs))) for stay in stays],
        [stay.hospital for stay in stays],
        _starts([stay.hospital for stay in stays]),
    )


def _line(stay: Stay, drugs: Sequence[str]) -> str:
    known = {name: value for name, value in stay.context().items() if value is not None}
    return json.dumps({"input": {"history": drugs, **known}, "hospital": stay.hospital})


def _starts(hospitals: Sequence[str]) -> list[int]:
    """Where the parts after the first third begin, and the end; a part is whole hospitals, and the last has what is left."""
    starts, least = [], len(hospitals) // 3
    for place in range(1, len(hospitals)):
        if place >= least and hospitals[place] != hospitals[place - 1]:
            starts.append(place)
            least = place + PART
    if len(hospitals) - starts[-1] < PART:
        del starts[-1]
    return [*starts, len(hospitals)]


def parent_of(bundle: Bundle, model: Linear, folder: Path) -> Bundle:
    """The bundle with the graph of another model, sealed in the new `folder`."""
    copy_files(bundle, folder, apart=())
    (folder / MANIFEST_NAME).write_bytes((bundle.folder / MANIFEST_NAME).read_bytes())
    save(model.graph(), folder / bundle.manifest.graph_tables[MODEL].file)
    sealed(folder, golden=True)
    return read_bundle(folder)


def refit(parent: Bundle, stays: Stays, part: int, folder: Path) -> Bundle:
    """The parent after one part of the stays, with the next one held out; the parent itself where the refit is refused."""
    paths = []
    for name, number in (("used", part), ("held-out", part + 1)):
        paths.append(folder / f"{name}-{part}.ndjson")
        lines = stays.lines[stays.starts[number] : stays.starts[number + 1]]
        paths[-1].write_text("".join(f"{line}\n" for line in lines))
    asked = Asked(
        parent=parent, folder=folder / f"refit-{part}", version=f"9.{part}.0", data=paths[0], values={}, label=None, ignore=(),
        group="hospital", apart=paths[1], share=0.5, seed=0, parent_rows=stays.starts[0],
    )  # fmt: skip
    try:
        return refitted(asked).bundle
    except BundleRefused as refused:
        print(f"part {part} is refused: {refused}")
        return parent


def compare(stays: Stays, bundle: Bundle, folder: Path) -> dict[str, list[Figures]]:
    """The figures of the stays held out, part by part, of each model."""
    first = stays.starts[0]
    frozen = current = parent_of(bundle, FIT(stays.items[:first], stays.context[:first]), folder / "parent")
    found: dict[str, list[Figures]] = {"frozen": [], "updated": [], "trained again": []}
    for part, (start, end) in enumerate(zip(stays.starts[1:], stays.starts[2:], strict=False)):
        current = refit(current, stays, part, folder)
        again = FIT(stays.items[:start], stays.context[:start])
        runs = (LocalModel(frozen.folder).run, LocalModel(current.folder).run, _run_of(again))
        for name, run in zip(found, runs, strict=True):
            found[name].append(ranked(run, stays.items[start:end], stays.context[start:end]))
        told = {name: f"{np.nanmean(parts[-1]['recall@10']):.4f}" for name, parts in found.items()}
        print(f"stays {start} to {end}, recall@10: {told}", flush=True)
    return found


def _run_of(model: Linear) -> Run:
    def run(feeds: Mapping[str, Array], graph: str = MODEL) -> Mapping[str, Array]:  # noqa: ARG001 - see Run
        return {"scores": model.scores(feeds["history"].astype(np.float64), feeds["context"])}

    return run


def main() -> None:
    """Read the arguments, refit, compare."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.refits", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder of eICU's demo")
    bundle = bundle_of(NAME)
    stays = read(parser.parse_args().data, bundle.folder)
    with TemporaryDirectory() as folder:
        found = compare(stays, bundle, Path(folder))
    whole = {
        name: {figure: np.concatenate([part[figure] for part in parts]) for figure in parts[0]}
        for name, parts in found.items()
    }
    hospitals = stays.hospitals[stays.starts[1] :]
    print(f"{len(hospitals)} stays of {len(set(hospitals))} hospitals; the parent has seen {stays.starts[0]}")
    for name in ("updated", "trained again"):
        for gain in compared_columns(whole["frozen"], whole[name], hospitals).gains:
            print(f"{gain.name}: frozen {gain.parent}, {name} {gain.refit}, gain {gain.gain}")


if __name__ == "__main__":
    main()
