"""What recommenders are trained and measured with: EASE and its graph against the definition, figures by hand."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from models.refits.linear_recommender import (
    COLD_STRENGTH,
    FACT_STRENGTH,
    ITEM_STRENGTH,
    assumed_gram,
    gram_of,
    updated,
)
from models.training.recommenders import (
    Floats,
    Linear,
    Users,
    ease,
    ease_with_context,
    measured,
    nearest_items,
    popularity,
)
from models.training.stays import (
    codes_of,
    diagnosis_groups,
    frequent,
    groups_text,
    past_history_groups,
    read_stays,
)

CHANCE = np.random.default_rng(7)
ITEMS = (CHANCE.random((60, 8)) < 0.4).astype(np.float64)
CONTEXT = (CHANCE.random((60, 5)) < 0.5).astype(np.float64)


def ridge(given: Floats, wanted: Floats, strengths: Floats) -> Floats:
    """Least squares with a penalty for each column, by an augmented system."""
    rows = np.vstack([given, np.diag(np.sqrt(strengths))])
    found: Floats = np.linalg.lstsq(rows, np.concatenate([wanted, np.zeros(len(strengths))]), rcond=None)[0]
    return found


def test_ease_is_a_ridge_regression_of_each_item_on_the_others() -> None:
    model = ease(3.0)(ITEMS, CONTEXT)
    for item in range(ITEMS.shape[1]):
        others = np.delete(np.arange(ITEMS.shape[1]), item)
        wanted = ridge(ITEMS[:, others], ITEMS[:, item], np.full(len(others), 3.0))
        assert model.items[others, item] == pytest.approx(wanted)
        assert model.items[item, item] == 0


def test_ease_with_context_is_a_ridge_regression_on_other_items_and_facts() -> None:
    model = ease_with_context(3.0, 5.0, 2.0, popularity_power=0.5)(ITEMS, CONTEXT)
    joined = np.hstack([ITEMS, CONTEXT, np.ones((60, 1))])
    strengths = np.r_[np.full(8, 3.0), np.full(5, 5.0), 1.0]
    for item in range(ITEMS.shape[1]):
        others = np.delete(np.arange(joined.shape[1]), item)
        wanted = ridge(joined[:, others], ITEMS[:, item], strengths[others])
        found = np.r_[np.delete(model.items[:, item], item), model.facts[:, item], model.offset[item]]
        assert found == pytest.approx(wanted)
        cold = ridge(joined[:, 8:], ITEMS[:, item], np.r_[np.full(5, 2.0), 1.0])
        assert np.r_[model.cold[:, item], model.usual[item]] == pytest.approx(cold)
    assert model.weights == pytest.approx(ITEMS.mean(0) ** -0.5)


def test_the_graph_gives_the_scores_of_the_model_also_without_a_history() -> None:
    model = ease_with_context(3.0, 5.0, 2.0, popularity_power=0.1)(ITEMS, CONTEXT)
    history = np.vstack([ITEMS[:9], np.zeros((3, 8))])
    session = onnxruntime.InferenceSession(
        model.graph().SerializeToString(), providers=["CPUExecutionProvider"]
    )
    feeds = {"history": history.astype(np.float32), "context": CONTEXT[:12].astype(np.float32)}
    [found] = session.run(["scores"], feeds)
    assert found == pytest.approx(model.scores(history, CONTEXT[:12]), abs=1e-5)
    warm = history[0] @ model.items + CONTEXT[0] @ model.facts + model.offset
    assert model.scores(history, CONTEXT[:12])[0] == pytest.approx(warm * model.weights)
    assert model.scores(history, CONTEXT[:12])[9] == pytest.approx(
        (CONTEXT[9] @ model.cold + model.usual) * model.weights
    )


def test_popularity_and_similar_items_rank_as_their_definitions_say() -> None:
    most = np.argsort(-ITEMS.sum(0), kind="stable")
    assert (
        np.argsort(-popularity(ITEMS, CONTEXT).scores(ITEMS[:1], CONTEXT[:1])[0], kind="stable").tolist()
        == most.tolist()
    )
    similar = nearest_items(ITEMS, CONTEXT).items
    cosine = ITEMS[:, 1] @ ITEMS[:, 2] / np.sqrt(ITEMS[:, 1].sum() * ITEMS[:, 2].sum())
    assert similar[1, 2] == pytest.approx(cosine)
    assert not similar.diagonal().any()


def test_users_of_one_group_are_in_one_fold() -> None:
    groups = [f"patient {row // 3}" for row in range(60)]
    folds = Users(ITEMS, CONTEXT, groups).folds(1)
    assert set(folds) == set(range(5))
    assert all(len({*folds[row : row + 3]}) == 1 for row in range(0, 60, 3))


def test_each_item_is_left_out_in_turn_and_ranked_among_those_that_are_lacking() -> None:
    items = (np.random.default_rng(3).random((40, 30)) < 0.3).astype(np.float64)
    users = Users(items, np.zeros((40, 1)), [str(row) for row in range(40)])
    found = measured(popularity, users, seed=1)
    folds = users.folds(1)
    for row in (0, 7):
        counts = items[folds != folds[row]].mean(0)
        had, lacking = np.flatnonzero(items[row]), np.flatnonzero(items[row] == 0)
        ranks = [(counts[lacking] > counts[item]).sum() for item in had]
        assert found.recall[row] == pytest.approx(np.mean([rank < 10 for rank in ranks]))
        assert found.ndcg[row] == pytest.approx(
            np.mean([1 / np.log2(rank + 2) if rank < 10 else 0 for rank in ranks])
        )
        top = np.argsort(-counts, kind="stable")[:10]
        assert found.cold_recall[row] == pytest.approx(items[row, top].sum() / min(10, len(had)))
    figures: dict[str, Any] = dict(found.figures(users.groups, np.ones(40, bool), seed=1))
    low, high = figures["recall_95"]
    assert low < np.nanmean(found.recall) < high


def test_users_may_be_ranked_for_with_another_context_than_the_models_are_fitted_with() -> None:
    chance = np.random.default_rng(5)
    items, context = ((chance.random((40, width)) < 0.3).astype(np.float64) for width in (30, 4))
    users, fit = Users(items, context, [str(row) for row in range(40)]), ease_with_context(3.0, 1.0, 1.0)
    found = measured(fit, users, seed=1, sent=np.zeros_like(context))
    folds = users.folds(1)
    for row in (0, 7):
        kept = folds != folds[row]
        top = np.argsort(-fit(items[kept], context[kept]).usual, kind="stable")[:10]
        assert found.cold_recall[row] == pytest.approx(items[row, top].sum() / min(10, items[row].sum()))
    assert found.cold_recall.tolist() != measured(fit, users, seed=1).cold_recall.tolist()


STAYS = """\
patientunitstayid,uniquepid,hospitalid,unittype,gender,age,unitadmitsource
1,a,9,MICU,Female,> 89,Floor
2,b,9,SICU,Male,61,
3,c,9,SICU,,,Floor
4,d,9,SICU,Male,50,Floor
5,e,9,SICU,Male,50,Floor
"""
DIAGNOSES = "patientunitstayid,diagnosisstring,icd9code\n" + "".join(
    f'{stay},cardiovascular|ventricular disorders|congestive heart failure,"428.0, I50.9"\n'
    f"{stay},endocrine|glucose metabolism|diabetes mellitus,\n"
    for stay in range(1, 6)
)
HISTORY = "patientunitstayid,pasthistorypath\n" + "".join(
    f"{stay},notes/Progress Notes/Past History/Organ Systems/Cancer/{part}/lung\n"
    for stay in range(1, 6)
    for part in ("Metastases", "Cancer-Primary Site")
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("stays", STAYS), ("diagnoses", DIAGNOSES), ("past_history", HISTORY)):
        (tmp_path / f"{name}.csv.gz").write_bytes(gzip.compress(text.encode()))
    return tmp_path


def test_stays_are_read_as_a_caller_sends_them(folder: Path) -> None:
    first, second, third, *_ = read_stays(folder).values()
    assert first.context() | {"past_history": []} == {
        "diagnoses": ["428.0", "I50.9", "endocrine|glucose metabolism|diabetes mellitus"],
        "past_history": [],
        "age": 90.0,
        "sex": "female",
        "unit": "MICU",
        "admitted_from": "Floor",
    }
    assert (second.admitted_from, third.age, third.sex) == (None, None, None)
    assert codes_of({"diagnosisstring": "a|b", "icd9code": ""}) == []


def test_codes_that_contradict_the_words_of_a_diagnosis_are_corrected() -> None:
    row = {"diagnosisstring": "renal|electrolyte imbalance|hyponatremia", "icd9code": "276.1, E87.0, E87.1"}
    assert codes_of(row) == ("276.1", "E87.1")
    moderate = {"diagnosisstring": "renal|hypokalemia|moderate", "icd9code": "276.7, E87.8"}
    assert codes_of(moderate) == ("276.8", "E87.6")
    assert codes_of(row | {"diagnosisstring": "renal|electrolyte imbalance|hypernatremia"})[1] == "E87.0"


def test_groups_join_both_code_systems_and_keep_findings_apart_that_end_alike(folder: Path) -> None:
    stays = read_stays(folder)
    diagnoses = diagnosis_groups(stays)
    assert [(group.id, group.display) for group in diagnoses] == [
        ("250", "Diabetes mellitus"),
        ("428", "Heart failure"),
    ]
    assert {"E11", "endocrine|glucose metabolism|diabetes mellitus"} <= {*diagnoses[0].codes}
    history = past_history_groups(stays)
    assert [group.id for group in history] == ["Cancer-Primary Site/lung", "Metastases/lung"]
    assert all("lung" not in group.codes for group in history)
    assert groups_text(diagnoses).splitlines()[2] == "428,Heart failure,402.01; 402.11; 402.91; I11.0; I50,"


def test_groups_and_items_of_fewer_than_five_patients_are_left_out(folder: Path) -> None:
    stays = read_stays(folder)
    some = {name: stay for name, stay in stays.items() if name != "5"}
    assert past_history_groups(some) == []
    assert frequent({name: frozenset({"x"}) for name in stays} | {"1": frozenset({"x", "y"})}, stays) == ["x"]


def test_a_model_is_read_back_from_its_graph() -> None:
    model = ease_with_context(3.0, 5.0, 2.0, popularity_power=0.5)(ITEMS, CONTEXT)
    read = Linear.of_graph(model.graph())
    assert read.scores(ITEMS, CONTEXT) == pytest.approx(model.scores(ITEMS, CONTEXT), abs=1e-5)
    other = model.graph()
    other.graph.node[-1].op_type = "Add"
    with pytest.raises(ValueError, match="not that of a linear recommender"):
        Linear.of_graph(other)


def test_an_update_by_parts_is_a_training_on_all_users() -> None:
    fit = ease_with_context(ITEM_STRENGTH, FACT_STRENGTH, COLD_STRENGTH, popularity_power=0.1)
    found, gram = fit(ITEMS[:20], CONTEXT[:20]), gram_of(ITEMS[:20], CONTEXT[:20])
    for start in (20, 40):
        some = slice(start, start + 20)
        found = updated(found, gram, ITEMS[some], CONTEXT[some])
        gram += gram_of(ITEMS[some], CONTEXT[some])
    wanted = fit(ITEMS, CONTEXT)
    for name in ("items", "facts", "offset", "cold", "usual"):
        assert getattr(found, name) == pytest.approx(getattr(wanted, name), abs=1e-12)
    assert not found.items.diagonal().any()


def test_a_parent_of_many_users_is_moved_less() -> None:
    parent = ease(100.0)(ITEMS[:30], CONTEXT[:30])
    few, many = (
        updated(parent, assumed_gram(ITEMS[30:], CONTEXT[30:], count), ITEMS[30:], CONTEXT[30:])
        for count in (30, 30_000)
    )
    moved = [np.abs(each.items - parent.items).max() for each in (few, many)]
    assert moved[0] > 10 * moved[1] > 0
