"""Train medication-recommender.

Source: eICU Collaborative Research Database Demo (Pollard et al., Sci Data 5:180178, 2018), ODbL 1.0: stays of patients in
intensive care of 186 hospitals, with the drugs ordered, diagnoses, past history, age, sex and unit. The folder of the data
holds `medications`, `stays`, `diagnoses`, `past_history` (.csv.gz) and `ingredients.csv`. About three minutes; seeds fixed.

EASE on drugs and context together, in closed form, against popularity, similarity of items, and EASE. Every figure is of
five-fold cross-validation in which no patient is in two folds. The drug safety rule reviews what is ranked.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from drug_catalogue import RXNORM, copy_tables, orders, write_catalogue, write_notice
from medication_cases import GOLDEN
from numpy.typing import NDArray
from rule_figures import Reviewed

from models.drug_safety import Level
from models.pipelines.context_fields import Columns
from models.training.export import save
from models.training.figures import interval
from models.training.recommenders import (
    FOLDS,
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
MANY = 10  # drugs of a stay, from which on ten recommendations can all be right
CHOSEN = ease_with_context(100.0, 150.0, 60.0, popularity_power=0.1)
MODELS: dict[str, Fit] = {
    "popularity": popularity,
    "item_knn": nearest_items,
    "ease": ease(100.0),
    "with_context": CHOSEN,
}


def train(data: Path) -> None:
    """Write everything of the bundle that comes from the data."""
    stays = read_stays(data)
    ordered, counts = orders(data)
    drugs, chosen = frequent(ordered, stays), [stay for name, stay in stays.items() if name in ordered]
    groups = write_context(HERE, stays)
    coded = write_catalogue(HERE / "catalogue.csv", data, drugs)
    write_notice(HERE / "NOTICE.txt")
    copy_tables(HERE / "drug_safety")
    columns = context_columns(HERE, chosen)
    items = np.array([[drug in ordered[stay.id] for drug in drugs] for stay in chosen], np.float64)
    context, known = zip(*(fed(columns, stay) for stay in chosen), strict=True)
    users = Users(items, np.array(context), [stay.patient for stay in chosen])
    informed = np.array(known) > 0
    model = CHOSEN(users.items, users.context)
    save(model.graph(), HERE / "model.onnx")
    report = (
        figures(users, informed, chosen)
        | reviewed(users, drugs)
        | _by_icd_10(columns, chosen, users, informed)
    )
    report |= {
        "stays": len(chosen), "patients": len(set(users.groups)), "drugs": len(drugs), "coded": coded,
        "diagnosis_groups": groups["diagnoses"], "past_history_groups": groups["past_history"], "orders": counts,
        "abstained": share_abstained(columns, stays, ordered, drugs), "abstained_cold": float((~informed).mean()),
        "parity": graph_parity(HERE / "model.onnx", model, users), "seed": SEED,
    }  # fmt: skip
    write_report(HERE, report, rxnorm=RXNORM, **context_texts(columns))
    write_golden(HERE, GOLDEN)


def figures(users: Users, informed: NDArray[np.bool_], stays: Sequence[Stay]) -> dict[str, object]:
    """Of every model, and of subgroups of the shipped one. Cold ones are of patients with a code that is known."""
    everybody, many = np.ones(len(stays), bool), users.items.sum(1) >= MANY
    found: dict[str, object] = {}
    for name, fit in MODELS.items():
        ranked = measured(fit, users, seed=SEED)
        ranked.cold_recall[~informed] = ranked.cold_ndcg[~informed] = np.nan
        found[name] = ranked.figures(users.groups, everybody, seed=SEED)
        of_many = ranked.cold_recall[informed & many]
        groups = [group for group, each in zip(users.groups, informed & many, strict=True) if each]
        found[f"{name}_cold_of_many"] = float(of_many.mean())
        found[f"{name}_cold_of_many_95"] = interval(
            lambda rows, values=of_many: float(values[rows].mean()),
            groups,
            seed=SEED,  # type: ignore[misc]  # mypy does not infer the default
        )
        print(name, found[name], found[f"{name}_cold_of_many"], flush=True)
    found["subgroups"] = by_subgroup(CHOSEN, users, informed, stays, seed=SEED)
    return found


def reviewed(users: Users, drugs: Sequence[str]) -> dict[str, object]:
    """Recall after the drug safety rule, one drug of each stay left out; and pairs in ten more drugs for each stay."""
    rule, folds, chance = Reviewed(drugs), users.folds(SEED), np.random.default_rng(SEED)
    recall, plans = [], []
    for fold in range(FOLDS):
        model = CHOSEN(users.items[folds != fold], users.context[folds != fold])
        for row in np.flatnonzero(folds == fold):
            had, known = users.items[row], users.context[row]
            present = [drugs[place] for place in np.flatnonzero(had)]
            ranked = rule.ranked(model, had, known)
            kept = rule.kept(ranked, present)
            plans.append(
                [
                    rule.pairs(ranked[:TOP], present, Level.CONTRAINDICATED),
                    rule.pairs(kept, present, Level.CONTRAINDICATED),
                    rule.pairs(kept, present, Level.NOT_RECOMMENDED),
                ]
            )
            if len(present) > 1:
                left = int(chance.choice(np.flatnonzero(had)))
                rest = np.where(np.arange(len(had)) == left, 0, had)
                ranked = rule.ranked(model, rest, known)
                others = [name for name in present if name != drugs[left]]
                recall.append([drugs[left] in ranked[:TOP], drugs[left] in rule.kept(ranked, others)])
    before, after, flagged = np.mean(plans, 0).tolist()
    without, with_rule = np.mean(recall, 0).tolist()
    return {
        "one_recall": without, "one_recall_after_rule": with_rule, "plan_contraindicated_before": before,
        "plan_contraindicated_after": after, "plan_not_recommended_flagged": flagged,
    }  # fmt: skip


def _by_icd_10(
    columns: Sequence[Columns], stays: Sequence[Stay], users: Users, informed: NDArray[np.bool_]
) -> dict[str, float]:
    """Recall where the diagnoses of the stays that are ranked for are sent as codes of ICD-10 alone."""
    sent = [
        replace(
            stay,
            diagnoses=frozenset(code for code in stay.diagnoses if code[:1].isalpha() and "|" not in code),
        )
        for stay in stays
    ]
    ranked = measured(CHOSEN, users, seed=SEED, sent=np.array([fed(columns, stay)[0] for stay in sent]))
    return {
        "icd_10_recall": float(np.nanmean(ranked.recall)),
        "icd_10_cold_recall": float(np.nanmean(ranked.cold_recall[informed])),
    }
