"""The names of an archive's members: what their bytes mean, and which of them are the same name.

An archive says of few names how they are encoded, and makers differ: Finder writes UTF-8 and does not say so, Windows the
code page of the machine, .NET backslashes, macOS decomposed letters. What is not UTF-8 is decided for the whole
archive at once: where all its names are words in one encoding and in no other, they are read in it; else the bytes are
given back as they are, for a result must not be filed under another name. An index, which is UTF-8, decides better,
since its names can be compared byte for byte. Sources: APPNOTE 6.3.10, 4.4.17, 4.6.9 and D; Unicode UAX 15.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from service.batches.files.formats.alphabets import EASTERN, HANGUL, JAPANESE, SIMPLIFIED, WESTERN
from service.batches.files.plans import Member


class Stored(NamedTuple):
    """A member as the archive stores it. `declared`: its name, where the archive says how that is encoded."""

    raw: bytes
    place: Member
    declared: str | None = None


class Named(NamedTuple):
    """A member and its name. `raw` is the name's bytes, where its encoding was guessed."""

    name: str
    place: Member
    raw: bytes | None = None


# Encodings that an index is compared in, for names that are not UTF-8.
LEGACY: Final = (
    "cp437", "cp850", "cp1252", "cp932", "gbk", "cp949", "big5", "euc_jp", "cp852", "cp1250", "cp866", "cp1251", "koi8_r",
    "cp737", "cp1253", "cp857", "cp1254", "cp862", "cp1255", "cp864", "cp1256", "cp874", "mac_roman", "iso8859_2", "cp775",
    "cp1257",
)  # fmt: skip
WORD: Final = re.compile(r"[^\W\d_]+")
MOST_ACCENTS: Final = 0.5  # share of the letters of a word, above which it is no sure word of a Latin script
PLAUSIBLE, SURE = 2 / 3, 3 / 4  # shares of common letters of Chinese, Japanese and Korean
HAN: Final = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
WIDE: Final = "\u3000-\u3002\u3008-\u3011\uff01-\uff5e·、—…・"
KANA: Final = frozenset(map(chr, range(0x3041, 0x30FF)))
# Half-width katakana are the bytes of any small alphabet: such a name is one reading among others, never sure.
HALF_KANA: Final = frozenset(map(chr, range(0xFF66, 0xFFA0)))
CHINESE: Final = re.compile(rf"[\x00-\x7e{HAN}{WIDE}]*")
JAPANESE_TEXT: Final = re.compile(rf"[\x00-\x7e{HAN}{WIDE}\u3041-\u30fe々]*")
# Words of them: a sound mark stands behind a syllable that has one.
HALF_WORD: Final = (
    r"(?:[\uff66-\uff9d](?:(?<=[\uff73\uff76-\uff84\uff8a-\uff8e])\uff9e|(?<=[\uff8a-\uff8e])\uff9f)?){2,}"
)
HALF_WIDTH_TEXT: Final = re.compile(rf"(?:[\x00-\x7e{HAN}{WIDE}\u3041-\u30fe々]|{HALF_WORD})*")
# Thai without the consonants that it hardly uses.
THAI_TEXT: Final = re.compile(
    r"(?:[\x00-\x7e]|[\u0e01-\u0e02\u0e04\u0e07-\u0e0b\u0e0d\u0e13-\u0e2b\u0e2d-\u0e3a\u0e40-\u0e4e]{2,})*"
)
HANGUL_TEXT: Final = re.compile(r"[\x00-\x7e\uac00-\ud7a3]*")
# What may stand in one word with letters of East Asia: an abbreviation before or behind it.
ABBREVIATED: Final = re.compile(r"[A-Z]*[^A-Za-z]{2,}|[^A-Za-z]{2,}[A-Z]*|[^A-Za-z]+")
SHARP_S: Final = re.compile(r"(?<![aeiouyäöü])ß")


def named(members: Sequence[Stored]) -> list[Named]:
    """The members with their names, separators turned into slashes."""
    unknown = [member for member in members if _declared(member) is None]
    encoding = _encoding([member.raw for member in unknown])
    found = []
    for member in members:
        name = _declared(member)
        raw = None if name is not None else member.raw
        text = name if name is not None else _text(member.raw, encoding)
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


def _text(raw: bytes, encoding: str | None) -> str:
    """The name in its encoding; without one, each byte that is not ASCII as %XX, and a percent sign so too."""
    if encoding is not None:
        return raw.decode(encoding)
    return "".join(chr(byte) if byte < 0x80 and byte != ord("%") else f"%{byte:02X}" for byte in raw)


def _encoding(names: Sequence[bytes]) -> str | None:
    """The encoding in which all `names` are words, and no other encoding makes other words of them; None without one."""
    joined = b"\n".join(names)
    readings: dict[str, list[str]] = {}
    for encoding, plausible in PLAUSIBLY.items():
        try:
            text = joined.decode(encoding)
        except UnicodeDecodeError:
            continue
        if plausible(text):
            readings.setdefault(text, []).append(encoding)
    if len(readings) != 1:
        return None
    [(text, encodings)] = readings.items()
    return next((found for found in encodings if found in SURELY and SURELY[found](text)), None)


def _words(text: str) -> list[str]:
    """The words that are not ASCII."""
    return [word for word in WORD.findall(text) if not word.isascii()]


def _are_latin(text: str) -> bool:
    """Whether the accents of each name are those of one language, and capitals stand first or throughout."""
    return (
        all(any(_accents(name) <= known for known in (*WESTERN, *EASTERN)) for name in text.split("\n"))
        and SHARP_S.search(text.lower()) is None
        and all(word.islower() or word.isupper() or word.istitle() for word in _words(text))
    )


def _are_surely_latin(text: str) -> bool:
    """Whether all names are of one Western language, and most letters of their words plain."""
    return any(_accents(text) <= language for language in WESTERN) and all(
        sum(not letter.isascii() for letter in word) < MOST_ACCENTS * len(word) for word in _words(text)
    )


def _accents(text: str) -> set[str]:
    return {letter for letter in text.lower() if not letter.isascii()}


def _are_words_of(letters: str) -> Callable[[str], bool]:
    """Whether all that is not ASCII is words of these letters, each in capitals as words are; a lone letter is none."""
    word_of = re.compile(f"[{letters}]+")

    def fits(text: str) -> bool:
        words = _words(text)
        return (
            any(len(word) > 1 for word in words)
            and all(letter.isascii() or letter.isalpha() for letter in text)
            and all(word in (word.lower(), word.upper(), word.title()) for word in words)
            and all(word_of.fullmatch(word.lower()) for word in words)
        )

    return fits


def _are_thai(text: str) -> bool:
    return THAI_TEXT.fullmatch(text) is not None


def _are_common(
    letters: frozenset[str], written: re.Pattern[str], share: float, least: int = 1
) -> Callable[[str], bool]:
    """Whether the text is written so, `share` of it letters that are common, and no word mixed with Latin letters."""

    def fits(text: str) -> bool:
        if written.fullmatch(text) is None or not all(map(ABBREVIATED.fullmatch, _words(text))):
            return False
        foreign = [letter for letter in "".join(_words(text)) if not letter.isascii()]
        common = sum(letter in letters for letter in foreign)
        return len(foreign) >= least and common >= share * len(foreign)

    return fits


# What a reading has to be for it to be a name in that encoding.
PLAUSIBLY: Final[Mapping[str, Callable[[str], bool]]] = {
    **dict.fromkeys(
        ("cp1252", "cp437", "cp850", "mac_roman", "cp1250", "iso8859_2", "cp852", "cp1254", "cp857", "cp1257", "cp775"),
        _are_latin,
    ),
    **dict.fromkeys(("cp866", "cp1251", "koi8_r"), _are_words_of("\u0430-\u044f\u0451\u0454\u0456\u0457")),
    **dict.fromkeys(("cp737", "cp1253"), _are_words_of("\u03ac-\u03ce")),
    **dict.fromkeys(("cp862", "cp1255"), _are_words_of("\u05d0-\u05ea")),
    "cp1256": _are_words_of("\u0621-\u064a"),
    "cp874": _are_thai,
    "cp949": _are_common(HANGUL, HANGUL_TEXT, PLAUSIBLE),
    "gbk": _are_common(SIMPLIFIED, CHINESE, PLAUSIBLE),
    "cp932": _are_common(JAPANESE | KANA | HALF_KANA, HALF_WIDTH_TEXT, PLAUSIBLE),
    "euc_jp": _are_common(JAPANESE | KANA, JAPANESE_TEXT, PLAUSIBLE),
    "big5": _are_common(JAPANESE | SIMPLIFIED, CHINESE, PLAUSIBLE),
}  # fmt: skip
# What it has to be for it to be taken, in the encodings that are read.
SURELY: Final[Mapping[str, Callable[[str], bool]]] = {
    **dict.fromkeys(("cp1252", "cp437", "cp850"), _are_surely_latin),
    "gbk": _are_common(SIMPLIFIED, CHINESE, SURE, least=2),
    "cp932": _are_common(JAPANESE | KANA, JAPANESE_TEXT, SURE, least=2),
}
