"""The names of an archive's members: what their bytes mean, and which of them are the same name.

An archive says of few names how they are encoded, and makers differ: Finder writes UTF-8 and does not say so, Windows the
code page of the machine, .NET backslashes, macOS decomposed letters. What is not UTF-8 is decided for the whole
archive at once, by which encoding makes words of all its names; an index, which is UTF-8, decides better, since its
names can be compared byte for byte. Sources: APPNOTE 6.3.10, 4.4.4, 4.4.17, 4.6.9 and D; Unicode UAX 15.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from service.batches.files.plans import Member


class Stored(NamedTuple):
    """A member as the archive stores it. `declared`: its name, where the archive says how that is encoded.

    `dos`: it was packed under DOS or Windows, where names are in a code page of DOS.
    """

    raw: bytes
    place: Member
    declared: str | None = None
    dos: bool = False


class Named(NamedTuple):
    """A member and its name. `raw` is the name's bytes, where its encoding was guessed."""

    name: str
    place: Member
    raw: bytes | None = None


# Encodings that an index is compared in, for names that are not UTF-8.
LEGACY: Final = (
    "cp437", "cp850", "cp1252", "cp932", "gbk", "cp949", "big5", "euc_jp", "cp852", "cp1250", "cp866", "cp1251", "koi8_r",
    "cp737", "cp1253", "cp857", "cp1254", "cp862", "cp1255", "cp864", "cp1256", "cp874",
)  # fmt: skip
FALLBACK: Final = "cp437"  # APPNOTE D.1: what a name is that does not say; every byte means something in it
IDEOGRAPHS: Final = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
KANA: Final = "\u3041-\u3096\u309d\u309e\u30a1-\u30fa\u30fc-\u30fe々"
WIDE: Final = "\u3000-\u3002\u3008-\u3011\uff01-\uff5e·、—…"
CHINESE: Final = re.compile(rf"[\x20-\x7e{IDEOGRAPHS}{WIDE}]*")
JAPANESE: Final = re.compile(rf"[\x20-\x7e{IDEOGRAPHS}{KANA}{WIDE}・]*")
WORD: Final = re.compile(r"[^\W\d_]+")
MOST_ACCENTS: Final = 0.5  # share of the letters of a word, above which it is no word of a Latin script


def named(members: Sequence[Stored]) -> list[Named]:
    """The members with their names, separators turned into slashes."""
    unknown = [member for member in members if _declared(member) is None]
    encoding = _encoding([member.raw for member in unknown], dos=all(member.dos for member in unknown))
    found = []
    for member in members:
        name = _declared(member)
        raw = None if name is not None else member.raw
        text = name if name is not None else member.raw.decode(encoding, "replace")
        found.append(Named(text.replace("\\", "/"), member.place, raw))
    return found


def _declared(member: Stored) -> str | None:
    """The name as it is declared, or as UTF-8, which hardly any other encoding is by chance."""
    if member.declared is not None:
        return member.declared
    try:
        return member.raw.decode()
    except UnicodeDecodeError:
        return None


def normal(name: str) -> str:
    """The form in which two spellings of a name are the same: letters composed, one slash between folders."""
    composed = name if name.isascii() else unicodedata.normalize("NFC", name)
    return "/".join(part for part in composed.replace("\\", "/").split("/") if part not in ("", "."))


def spellings(name: str) -> Iterable[bytes]:
    """The bytes that stand for a name in the encodings that archives do not declare."""
    text = unicodedata.normalize("NFC", name)
    for encoding in LEGACY:
        for form in {text, text.replace("/", "\\")}:
            try:
                yield form.encode(encoding)
            except UnicodeEncodeError:
                continue


def _encoding(names: Sequence[bytes], *, dos: bool) -> str:
    """The encoding in which all `names` are words."""
    latin = ("cp437", "latin-1", "cp850", "cp1252") if dos else ("latin-1", "cp437", "cp850", "cp1252")
    tests: list[tuple[str, Callable[[str], bool]]] = [
        *((encoding, _are_latin_words) for encoding in latin),
        ("gb2312", _matches(CHINESE)),
        ("cp932", _matches(JAPANESE)),
        ("gbk", _matches(CHINESE)),
        *((encoding, _are_latin_letters) for encoding in latin),
    ]
    for encoding, fits in tests:
        try:
            texts = [name.decode(encoding) for name in names]
        except UnicodeDecodeError:
            continue
        if all(fits(text) for text in texts):
            return encoding
    return FALLBACK


def _matches(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda text: pattern.fullmatch(text) is not None


def _are_latin_letters(text: str) -> bool:
    """Whether all that is not ASCII is a letter of a Latin script."""
    return all(
        letter.isascii() or (letter.isalpha() and unicodedata.name(letter, "").startswith("LATIN"))
        for letter in text
    )


def _are_latin_words(text: str) -> bool:
    """Whether the words with accents look like words: capitals first or throughout, and most letters plain."""
    words = [word for word in WORD.findall(text) if not word.isascii()]
    return _are_latin_letters(text) and all(
        (word.islower() or word.isupper() or word.istitle())
        and sum(not letter.isascii() for letter in word) < MOST_ACCENTS * len(word)
        for word in words
    )
