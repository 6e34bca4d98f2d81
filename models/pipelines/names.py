"""Which names are similar: the name that was probably meant by a name that a model does not know.

A column's name is near a wanted one if it differs in case, accents, spaces, hyphens, underscores or the order of its words;
if it has more words (`Mean radius (mm)`, `serum_sodium`) or fewer (`weight` for `weight_kg`), unless that gives it another
meaning (`mean_radius_sd`); if one word is abbreviated (`temp`, `s_sodium`), or the wanted name is an abbreviation of one of its
words, which is near no other (`thallium` for `thal`); if letters look alike (`hbalc`, a letter of another script); or if there
is a typing error: one letter added, missing, replaced, or two swapped in a word, in at most two words. Digits, first letters
and single-letter words must be the same, and so must parts that distinguish medical terms, such as `hyper` and `hypo`.
"""

import functools
import operator
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

Words = tuple[str, ...]

WORD: Final = re.compile(r"[^\W_]+")
DIGITS: Final = re.compile(r"\d+")
BRACKETED: Final = re.compile(r"\[[^\]]*\]|\([^)]*\)|\{[^}]*\}")
HUMP: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
LONGEST: Final = 200
SHORTEST: Final = 4  # letters of an abbreviation that stands alone
MOST_WORDS: Final = 20  # of names with more, only the whole is looked at
# With more pairs of names than this, only names that fold to the same are found, since each pair is checked for typing errors
# and abbreviations: 300,000 similar ones take two CPU seconds.
PAIRS: Final = 300_000
# Words that make of a name that of something else: whom or when it is of, how it spreads, how it is measured.
SOMETHING_ELSE: Final = frozenset(
    ("id", "sd", "se", "sem", "std", "error", "date", "unit", "units", "flag", "comment", "note")
)
# Letters of other scripts that look like Latin ones (Unicode TR39, confusables), and letters that look like digits.
LATIN: Final = str.maketrans("аеорсухкмтнвіјѕԁһαοντυικχε", "aeopcyxkmthbijsdhaovtuikxe")
LIKE_DIGITS: Final = str.maketrans("lio", "110")
# Parts of terms that differ by no more than a slip of the pen and mean different things.
OPPOSITES: Final = (
    *(("hyper", "hypo"), ("ab", "ad"), ("pre", "pro"), ("pre", "per"), ("pre", "peri"), ("ante", "anti")),
    *(("inter", "intra"), ("infra", "intra"), ("micro", "macro"), ("endo", "ecto"), ("minim", "maxim")),
    *(("ate", "ite"), ("ate", "ase"), ("ase", "ose"), ("phagia", "phasia"), ("plasia", "phasia")),
    *(("fect", "ject"), ("incub", "intub"), ("infarc", "infrac"), ("perin", "peron"), ("ileu", "iliu")),
    *(("miosis", "mitosis"), ("miosis", "meiosis")),
)


def folded(name: str) -> str:
    """A name without case, accents and characters that are neither letters nor digits."""
    return "".join(_words(name))


def are_near(name: str, wanted: str) -> bool:
    """Whether a column's name may mean the wanted one. See the module."""
    return bool(near_names([wanted], [name]))


def near_names(wanted: Iterable[str], given: Iterable[str]) -> dict[str, str]:
    """Those of the `wanted` names, in order, that one of the `given` is near to, and that one."""
    wanted = list(wanted)
    whole = {words: name for name in given if len(name) <= LONGEST for words in _readings(name)}
    parts = whole | {
        part: name for words, name in whole.items() for part in _parts(words) if part not in whole
    }
    known: dict[object, str] = {}
    for words, name in parts.items():
        for form in _forms(words):
            known.setdefault(form, name)
    alone = {form: name for words, name in whole.items() for form in (*_forms(words), _by_looks(words))}
    looked_at = next((each for each in (parts, whole) if len(wanted) * len(each) <= PAIRS), {})
    outlines = [(part, *_outline(part)) for part in looked_at]
    near = {}
    for name in wanted:
        words = _words(name)
        found = next((known[form] for form in _forms(words) if form in known), None)
        if found is None:
            found = next((alone[form] for form in _lesser_forms(words) if form in alone), None)
        if found is None:
            length, letters = _outline(words)
            slips = (
                looked_at[part]
                for part, its_length, its_letters in outlines
                if abs(its_length - length) <= 2 and (its_letters ^ letters).bit_count() <= 4  # of two words
                if _are_slips(part, words, whole=part in whole)
            )
            found = next(slips, None)
        if found is None and looked_at:
            found = next((other for part, other in whole.items() if _is_cut_short(part, words)), None)
        if found is not None:
            near[name] = found
    taken = set(near.values())
    left = {part: name for part, name in looked_at.items() if name not in taken}
    near |= _abbreviations((name for name in wanted if name not in near), left)
    return {name: near[name] for name in wanted if name in near}


def _readings(name: str) -> Iterator[Words]:
    """The words of a column's name, also without what stands in brackets and with words told by their capitals."""
    for text in (name, BRACKETED.sub(" ", name), HUMP.sub(" ", name)):
        if words := _words(text):
            yield words


def _words(name: str) -> Words:
    plain = "".join(
        letter for letter in unicodedata.normalize("NFKD", name) if not unicodedata.combining(letter)
    )
    return tuple(WORD.findall(DIGITS.sub(_without_zeros, plain.casefold().translate(LATIN))))


def _without_zeros(digits: re.Match[str]) -> str:
    return digits[0].lstrip("0") or "0"


def _parts(words: Words) -> Iterator[Words]:
    """The runs of words that may name what the column holds; the other words say more about it."""
    yield words
    if len(words) > MOST_WORDS:
        return
    for start in range(len(words)):
        for end in range(start + 1, len(words) + 1):
            if SOMETHING_ELSE.isdisjoint((*words[:start], *words[end:])):
                yield words[start:end]


def _forms(words: Words) -> Iterator[object]:
    """What equals that of another name which differs in nothing that counts."""
    if words:
        yield "".join(words)
        yield tuple(sorted(words))


def _lesser_forms(words: Words) -> Iterator[object]:
    """What equals a name that says less than these words, in a word of three letters at least, or that looks like them."""
    yield _by_looks(words)
    for part in _parts(words):
        if any(len(word) > 2 for word in part):
            yield "".join(part)


def _outline(words: Words) -> tuple[int, int]:
    """The number of characters, and a bit for each that occurs: a typing error changes one of the first, two of the second."""
    joined = "".join(words)
    return len(joined), functools.reduce(operator.or_, (1 << (ord(letter) & 63) for letter in joined), 0)


def _by_looks(words: Words) -> tuple[str, ...]:
    """The words with letters that look like digits as these."""
    return tuple(word.translate(LIKE_DIGITS) for word in words)


def _abbreviations(wanted: Iterable[str], parts: Mapping[Words, str]) -> Iterator[tuple[str, str]]:
    """Each wanted name of one word that is the beginning of a longer one (`thal` of `thallium`), and the column of that."""
    longer = {part[0]: name for part, name in parts.items() if len(part) == 1}
    for name in wanted:
        words = _words(name)
        for word, found in longer.items():
            if _is_cut_short(words, (word,)) and word.removeprefix(words[0]) not in SOMETHING_ELSE:
                yield name, found
                break


def _is_cut_short(one: Words, meant: Words) -> bool:
    """Whether the words are the intended ones except for one abbreviation; a single word must keep four letters."""
    if len(one) != len(meant):
        return False
    apart = [pair for pair in zip(one, meant, strict=True) if pair[0] != pair[1]]
    if len(apart) != 1:
        return False
    short, long = apart[0]
    needed = SHORTEST if len(one) == 1 else 1
    told = len(one) == 1 or any(len(word) > 2 for word in one if word != short)
    return told and len(short) >= needed and short.isalpha() and long.isalpha() and long.startswith(short)


def _are_slips(one: Words, other: Words, *, whole: bool) -> bool:
    """Whether at most two words are typing errors. `whole`: the first are a column's whole name, not a part of it."""
    fewest = 2 if whole and len(one) == 1 else 3  # `cas` may mean `ca`, `cas_number` does not
    if len(one) == len(other):
        slips = 0
        for word, meant in zip(one, other, strict=True):
            slips += word != meant
            if slips > 2 or not _is_slip(word, meant, fewest):
                return False
        return True
    return _single_letters(one) == _single_letters(other) and _is_slip("".join(one), "".join(other), fewest)


def _single_letters(words: Words) -> list[str]:
    return sorted(word for word in words if len(word) == 1)


def _is_slip(word: str, meant: str, fewest: int) -> bool:
    """Whether one word is the other, or a typing error for it.

    In short ones letters may be swapped or doubled, or an `s` be added: `mch` is none for `mchc`, nor `ratio` for `radio`.
    In those of less than `fewest` letters they may be swapped alone.
    """
    if word == meant or abs(len(word) - len(meant)) > 1:
        return word == meant
    start = _shared(word, meant)
    end = _shared(word[start:][::-1], meant[start:][::-1])
    one, other = word[start : len(word) - end], meant[start : len(meant) - end]
    if any(letter.isdigit() for letter in one + other) or _are_opposites(word, meant):
        return False
    if len(one) != 1 or len(other) != 1:
        is_swapped = len(one) == 2 and one == other[::-1]
        if is_swapped or not start or len(one + other) > 1:
            return is_swapped
    shortest = min(len(word), len(meant))
    if shortest == 4 and len(word) != len(meant) and DIGITS.search(word) and DIGITS.search(meant):
        return True  # `hba1` for `hba1c`: a name with a digit in it is no other word
    if shortest < 5:
        return shortest >= fewest and one + other in ((word[start - 1],) if end else (word[start - 1], "s"))
    return start > 0 and (shortest > 5 or len(one) != len(other))


def _shared(one: str, other: str) -> int:
    """The number of letters with which both begin."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (letter, same) in pairs if letter != same), min(len(one), len(other)))


def _are_opposites(word: str, meant: str) -> bool:
    """Whether two words differ only in parts with different meanings."""
    return any(
        word.replace(part, other) == meant or meant.replace(part, other) == word for part, other in OPPOSITES
    )
