"""Pairs of questions made for the training of question-match."""

from pathlib import Path

from models.training.exchanged_terms import Exchange, opposites, terms_of

TERMS = {"disease": ["甲病", "乙病", "丙病", "丁病"]}
TEXTS = [f"{term}怎么办{number}" for term in ("甲病", "乙病", "丙病") for number in range(5)]
PAIRS = [(text, text) for text in TEXTS]


def exchange(*more: tuple[str, str], same: int = 1) -> Exchange:
    """Of the texts above, and of more pairs."""
    return Exchange(TERMS, [*PAIRS, *more], [1] * len(PAIRS) + [same] * len(more))


def test_terms_are_read_from_tagged_letters(tmp_path: Path) -> None:
    tagged = "甲 B_disease\n病 I_disease\n吃 O\n某 B_drug\n药 I_drug\n头 B_body\n\n痛 B_disease\n"
    path = tmp_path / "train.txt"
    path.write_text(tagged, encoding="utf-8")
    assert terms_of(path) == {"disease": ["甲病"], "drug": ["某药"], "feature": []}


def test_a_term_is_exchanged_for_another_that_is_frequent() -> None:
    made = exchange().pairs(TEXTS, len(TEXTS), 1)
    assert len(made) == len(TEXTS)
    assert all(first != second and first[2:] == second[2:] for first, second in made)
    assert {second[:2] for _, second in made} == {"甲病", "乙病", "丙病"}


def test_a_term_is_exchanged_for_one_that_no_text_has_where_that_is_asked_for() -> None:
    made = exchange().pairs(TEXTS, 3, 1, unknown=True)
    assert [second[:2] for _, second in made] == ["丁病"] * 3


def test_names_that_pairs_of_the_same_meaning_exchange_are_not_exchanged() -> None:
    alike = exchange(("甲病怎么办0", "乙病怎么办0"), ("甲病怎么办1", "乙病怎么办1")).pairs(TEXTS, 99, 1)
    assert {frozenset((first[:2], second[:2])) for first, second in alike} == {
        frozenset(("甲病", "丙病")),
        frozenset(("乙病", "丙病")),
    }


def test_names_that_pairs_of_another_meaning_exchange_are_exchanged() -> None:
    other = exchange(("甲病怎么办0", "乙病怎么办0"), ("甲病怎么办1", "乙病怎么办1"), same=0)
    found = {frozenset((first[:2], second[:2])) for first, second in other.pairs(TEXTS, 99, 1)}
    assert frozenset(("甲病", "乙病")) in found


def test_a_term_of_both_texts_is_exchanged_in_both() -> None:
    [(first, second)] = exchange().both([("甲病怎么办0", "得了甲病呢")], 9, 1)
    assert first[:2] == second[2:4] != "甲病"
    assert exchange().both([("甲病怎么办0", "得了乙病呢")], 9, 1) == []


def test_a_text_with_both_opposites_is_left_as_it_is() -> None:
    assert opposites(["左腿疼", "左腿比右腿疼", "腿疼"], 9, 1) == [("左腿疼", "右腿疼")]
    assert opposites(["不能吃什么", "能吃什么"], 9, 1) == [("能吃什么", "不能吃什么")]
