"""Train care-service-recommender.

Source: eICU Collaborative Research Database Demo (Pollard et al., Sci Data 5:180178, 2018), ODbL 1.0: stays of patients in
intensive care of 186 hospitals, with the consultants and services asked, diagnoses, past history, age, sex and unit. The
folder of the data holds `care_providers`, `treatments`, `stays`, `diagnoses` and `past_history` (.csv.gz); the folder
`providers_osm` beside it holds the places, `gb-hospitals.csv` and `ie-hospitals.csv` (OpenStreetMap, ODbL 1.0). About a
minute; seeds fixed.

EASE on services and context together, in closed form, against popularity, similarity of services, and EASE. Every figure is of
five-fold cross-validation in which no patient is in two folds.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from care_cases import GOLDEN
from numpy.typing import NDArray
from place_files import write_places, write_services
from service_catalogue import consulted, write_catalogue, write_notice

from models.training.export import save
from models.training.recommenders import (
    TOP,
    Fit,
    Users,
    ease,
    ease_with_context,
    measured,
    nearest_items,
    popularity,
)
from models.training.stay_recommenders import (
    by_subgroup,
    context_columns,
    context_texts,
    fed,
    graph_parity,
    share_abstained,
    write_context,
)
from models.training.stays import Stay, frequent, read_stays
from models.training.writing import write_golden, write_report

HERE = Path(__file__).resolve().parent
SEED = 20261129
TOPS = (3, 5, TOP)
CHOSEN = ease_with_context(50.0, 150.0, 60.0)
MODELS: dict[str, Fit] = {
    "popularity": popularity,
    "item_knn": nearest_items,
    "ease": ease(30.0),
    "with_context": CHOSEN,
}


def train(data: Path) -> None:
    """Write everything of the bundle that comes from the data."""
    stays = read_stays(data)
    asked, counts = consulted(data)
    services = frequent(asked, stays)
    chosen = [stay for name, stay in stays.items() if asked.get(name, frozenset()) & {*services}]
    groups = write_context(HERE, stays)
    write_catalogue(HERE / "catalogue.csv", services)
    places = write_places(HERE / "places.csv", data.parent / "providers_osm")
    write_services(HERE / "services.csv", services)
    write_notice(HERE / "NOTICE.txt")
    columns = context_columns(HERE, chosen)
    items = np.array([[service in asked[stay.id] for service in services] for stay in chosen], np.float64)
    context, known = zip(*(fed(columns, stay) for stay in chosen), strict=True)
    users = Users(items, np.array(context), [stay.patient for stay in chosen])
    informed = np.array(known) > 0
    model = CHOSEN(users.items, users.context)
    save(model.graph(), HERE / "model.onnx")
    report = figures(users, informed, chosen) | {
        "stays": len(chosen), "patients": len(set(users.groups)), "services": len(services),
        "stays_of_several": int((items.sum(1) > 1).sum()), "rows": counts, "places": places,
        "diagnosis_groups": groups["diagnoses"], "past_history_groups": groups["past_history"],
        "abstained": share_abstained(columns, stays, asked, services), "abstained_cold": float((~informed).mean()),
        "parity": graph_parity(HERE / "model.onnx", model, users), "seed": SEED,
    }  # fmt: skip
    write_report(HERE, report, **context_texts(columns))
    write_golden(HERE, GOLDEN)


def figures(users: Users, informed: NDArray[np.bool_], stays: Sequence[Stay]) -> dict[str, object]:
    """Of every model among the first 3, 5 and 10, and of subgroups of the shipped one.

    Cold ones are of patients with a code that is known.
    """
    everybody = np.ones(len(stays), bool)
    found: dict[str, object] = {}
    for name, fit in MODELS.items():
        for top in TOPS:
            ranked = measured(fit, users, seed=SEED, top=top)
            ranked.cold_recall[~informed] = ranked.cold_ndcg[~informed] = np.nan
            found[f"{name}_at_{top}"] = ranked.figures(users.groups, everybody, seed=SEED)
            print(name, top, found[f"{name}_at_{top}"], flush=True)
    found["subgroups"] = by_subgroup(CHOSEN, users, informed, stays, seed=SEED)
    return found
