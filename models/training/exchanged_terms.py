"""Pairs of questions that differ in one medical term, made of questions by exchanging it for another of its kind."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path

import numpy as np

Pair = tuple[str, str]

LEAST_LETTERS, LEAST_TEXTS = 2, 5  # of a term
KINDS = ("disease", "drug", "feature")
# Words that mean another thing in the same place. One that contains the other is exchanged for it, not the other way round.
OPPOSITES = (
    ("1型", "2型"), ("一型", "二型"), ("早期", "晚期"), ("急性", "慢性"), ("良性", "恶性"), ("原发性", "继发性"),
    ("血糖高", "血糖低"), ("高血糖", "低血糖"), ("血压高", "血压低"), ("高血压", "低血压"), ("偏高", "偏低"),
    ("升高", "下降"), ("阴性", "阳性"), ("大三阳", "小三阳"), ("乙肝", "丙肝"), ("乙肝", "甲肝"), ("甲亢", "甲减"),
    ("饭前", "饭后"), ("空腹", "餐后"), ("术前", "术后"), ("产前", "产后"), ("左", "右"), ("上肢", "下肢"),
    ("白天", "晚上"), ("小便", "大便"), ("男", "女"), ("父亲", "母亲"), ("爸爸", "妈妈"), ("老公", "老婆"),
    ("孕妇", "老人"), ("孕妇", "儿童"), ("孩子", "老人"), ("小孩", "老人"), ("能吃什么", "不能吃什么"),
)  # fmt: skip


# Diseases and drugs that nothing was fitted to as pairs, and questions about each kind, every one in two wordings.
NAMED = {
    "disease": (
        ("麻疹", "风疹"), ("甲型肝炎", "丙型肝炎"), ("肺炎", "胃炎"), ("哮喘", "支气管炎"), ("痛风", "关节炎"),
        ("贫血", "白血病"), ("近视", "白内障"), ("湿疹", "荨麻疹"), ("胃溃疡", "胆结石"), ("偏头痛", "脑梗"),
    ),
    "drug": (
        ("华法林", "阿司匹林"), ("青霉素", "头孢"), ("二甲双胍", "格列美脲"), ("布洛芬", "对乙酰氨基酚"),
        ("氨氯地平", "美托洛尔"), ("胰岛素", "地塞米松"), ("硝苯地平", "卡托普利"), ("奥美拉唑", "多潘立酮"),
        ("辛伐他汀", "氯吡格雷"), ("氯雷他定", "左氧氟沙星"),
    ),
}  # fmt: skip
WORDINGS = {
    "disease": (
        ("{}怎么治疗", "怎样治好{}"), ("{}有什么症状", "{}的症状是什么"), ("得了{}怎么办", "患了{}该怎么办"),
        ("{}会传染吗", "{}传染吗"), ("{}需要注意什么", "{}要注意哪些事"),
    ),
    "drug": (
        ("{}有什么副作用", "{}的副作用是什么"), ("{}怎么吃", "{}的服用方法"), ("吃{}要注意什么", "服用{}有哪些注意事项"),
        ("孕妇能吃{}吗", "怀孕了可以吃{}吗"), ("{}多少钱", "{}的价格"),
    ),
}  # fmt: skip


def named_pairs() -> dict[str, list[Pair]]:
    """A hundred pairs with one term exchanged, the same in other words, and the same words about one term."""
    every = [
        (*terms, *wording) for kind, both in NAMED.items() for terms, wording in product(both, WORDINGS[kind])
    ]
    return {
        "named": [(text.format(first), text.format(second)) for first, second, text, _ in every],
        "reworded": [(text.format(first), other.format(second)) for first, second, text, other in every],
        "one_term": [(text.format(first), other.format(first)) for first, _, text, other in every],
    }


def terms_of(path: Path) -> dict[str, list[str]]:
    """The terms of each kind that a file of tagged letters names (a letter and its tag a line; B_ and I_ before the kind)."""
    found: dict[str, set[str]] = {kind: set() for kind in KINDS}
    term, kind = "", ""
    for line in [*path.read_text(encoding="utf-8").splitlines(), " O"]:
        letter, _, tag = line.partition(" ")
        if tag == f"I_{kind}":
            term += letter
            continue
        if kind in found and len(term) >= LEAST_LETTERS:
            found[kind].add(term)
        term, kind = (letter, tag.removeprefix("B_")) if tag.startswith("B_") else ("", "")
    return {kind: sorted(terms) for kind, terms in found.items()}


def opposites(texts: Sequence[str], count: int, seed: int) -> list[Pair]:
    """Up to `count` texts, each with the same text about the opposite."""
    chance = np.random.default_rng(seed)
    both = [*OPPOSITES, *((other, term) for term, other in OPPOSITES)]
    found: list[Pair] = []
    for row in chance.permutation(len(texts)):
        text = texts[row]
        named = [(term, other) for term, other in both if term in text and other not in text]
        if named and len(found) < count:
            found.append((text, text.replace(*named[chance.integers(len(named))])))
    return found


class Exchange:
    """Which terms may stand for which: those of one kind that occur, and that no pair of the same meaning exchanges."""

    def __init__(self, terms: dict[str, list[str]], pairs: Sequence[Pair], same: Iterable[int]) -> None:
        texts = sorted({text for pair in pairs for text in pair})
        counts = {each: sum(each in text for text in texts) for kind in terms.values() for each in kind}
        self._kinds = [[each for each in kind if counts[each] >= LEAST_TEXTS] for kind in terms.values()]
        self._unknown = [[each for each in kind if not counts[each]] for kind in terms.values()]
        self._counts = counts
        self._alike = _exchanged_in(pairs, same, [each for kind in self._kinds for each in kind])

    def pairs(self, texts: Sequence[str], count: int, seed: int, *, unknown: bool = False) -> list[Pair]:
        """Up to `count` texts, each with the same text about another term.

        A frequent term comes more often; with `unknown` each is one that no text of the training has.
        """
        chance = np.random.default_rng(seed)
        found: list[Pair] = []
        for row in chance.permutation(len(texts)):
            swap = self._swap((texts[row],), chance, unknown=unknown)
            if swap and len(found) < count:
                found.append((texts[row], texts[row].replace(*swap)))
        return found

    def both(self, pairs: Sequence[Pair], count: int, seed: int) -> list[Pair]:
        """Up to `count` pairs whose texts have a term in common, with another one in both."""
        chance = np.random.default_rng(seed)
        found: list[Pair] = []
        for row in chance.permutation(len(pairs)):
            swap = self._swap(pairs[row], chance)
            if swap and len(found) < count:
                first, second = pairs[row]
                found.append((first.replace(*swap), second.replace(*swap)))
        return found

    def _swap(
        self, texts: Sequence[str], chance: np.random.Generator, *, unknown: bool = False
    ) -> Pair | None:
        """A term that all texts have, by chance, and what stands for it; None if there is none."""
        named = [
            (each, kind)
            for kind, terms in enumerate(self._kinds)
            for each in terms
            if all(each in text for text in texts)
        ]
        named = [
            (each, kind)
            for each, kind in named
            if not any(each != more and each in more for more, _ in named)
        ]
        if not named:
            return None
        term, kind = named[chance.integers(len(named))]
        candidates = (self._unknown if unknown else self._kinds)[kind]
        others = [each for each in candidates if self._may_replace(term, each, texts)]
        if not others:
            return None
        weights = np.sqrt([max(self._counts[each], 1) for each in others])
        return term, others[chance.choice(len(others), p=weights / weights.sum())]

    def _may_replace(self, term: str, other: str, texts: Sequence[str]) -> bool:
        overlap = any(other in text for text in texts) or other in term or term in other
        return not overlap and frozenset((term, other)) not in self._alike


def _exchanged_in(pairs: Sequence[Pair], same: Iterable[int], terms: Sequence[str]) -> set[frozenset[str]]:
    """Terms that pairs of the same meaning exchange more often than in one case of four: other names of one thing."""
    every: Counter[frozenset[str]] = Counter()
    alike: Counter[frozenset[str]] = Counter()
    for (first, second), is_same in zip(pairs, same, strict=True):
        own = [each for each in terms if each in first and each not in second]
        others = [each for each in terms if each in second and each not in first]
        for both in map(frozenset, product(own, others)):
            every[both] += 1
            alike[both] += int(is_same)
    return {both for both, count in alike.items() if count >= 2 and count / every[both] > 0.25}
