"""The names of an archive's members: what their bytes mean, and which of them are the same name.

An archive says of few names how they are encoded, and makers differ: Finder writes UTF-8 and does not say so, Windows the
code page of the machine, .NET backslashes, macOS decomposed letters. What is not UTF-8 is decided for the whole
archive at once, by which encoding makes words of all its names; where none does, or a script that is not read makes
words too, the bytes are given back as they are. An index, which is UTF-8, decides better, since its names can be
compared byte for byte. Sources: APPNOTE 6.3.10, 4.4.4, 4.4.17, 4.6.9 and D; Unicode UAX 15.
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
IDEOGRAPHS: Final = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
KANA: Final = "\u3041-\u3096\u309d\u309e\u30a1-\u30fa\u30fc-\u30fe々"
WIDE: Final = "\u3000-\u3002\u3008-\u3011\uff01-\uff5e·、—…"
HALF_KANA: Final = "\uff66-\uff9f"
CHINESE: Final = re.compile(rf"[\x20-\x7e{IDEOGRAPHS}{WIDE}]*")
JAPANESE: Final = re.compile(rf"[\x20-\x7e{IDEOGRAPHS}{KANA}{WIDE}・]*")
HALF_JAPANESE: Final = re.compile(rf"(?:[\x20-\x7e{IDEOGRAPHS}{KANA}{WIDE}・]|[{HALF_KANA}]{{2,}})*")
# Encodings of other scripts: what is a word in one of them is not taken for one of the encodings that are read.
CYRILLIC, GREEK, HEBREW, ARABIC = (
    "\u0430-\u044f\u0451\u0454\u0456\u0457",
    "\u03ac-\u03ce",
    "\u05d0-\u05ea",
    "\u0621-\u064a",
)
RIVALS: Final = (
    ("cp866", CYRILLIC), ("cp1251", CYRILLIC), ("koi8_r", CYRILLIC), ("cp737", GREEK), ("cp1253", GREEK),
    ("cp862", HEBREW), ("cp1255", HEBREW), ("cp1256", ARABIC),
)  # fmt: skip
# The syllables that Korean is mostly made of: Korean and Chinese names are the same bytes, so rare ones prove nothing.
HANGUL: Final = frozenset(
    "가각간갈감강개거건검게결경계고공과관광교구국군권규그근금급기김나난남내너노뇌누는다단달담당대데도동두등디라락래"
    "량러레려력련로록론료류리림마만말망매머메면명모목무문물미민바박반발방배백번범법변별병보복본부분불비빈사산"
    "삼상새색생서석선설섭성세소손송수순술스승시식신실심아안암약양어언업에여역연열염영예오옥온와완왕외요용우"
    "운울원월위유육윤율은을음응의이인일임입자장재저적전절점정제조종좌주준중증지직진질집차찬참창채척천철첨청"
    "체초촌최추축출충측치친침카코크타탁태터테토통투트특파판팔편평폐포표품피필하학한함합항해행향허현형혜호혹화"
    "환활황회효후흉희히더렴폴"
)
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


def _encoding(names: Sequence[bytes], *, dos: bool) -> str | None:
    """The encoding in which all `names` are words; None where that cannot be told."""
    latin = ("cp437", "latin-1", "cp850", "cp1252") if dos else ("latin-1", "cp437", "cp850", "cp1252")
    if (found := _first(names, [(encoding, _are_latin_words) for encoding in latin])) is not None:
        return found
    if _first(
        names, [*((encoding, _are_words_of(script)) for encoding, script in RIVALS), ("cp949", _are_korean)]
    ):
        return None
    return _first(
        names,
        [
            ("gb2312", _are_common_chinese),
            ("cp932", _matches(JAPANESE)),
            ("gbk", _are_common_chinese),
            ("cp932", _matches(HALF_JAPANESE)),
            *((encoding, _are_latin_letters) for encoding in latin),
        ],
    )


def _first(names: Sequence[bytes], tests: Sequence[tuple[str, Callable[[str], bool]]]) -> str | None:
    """The first encoding whose test all names pass."""
    for encoding, fits in tests:
        try:
            if all(fits(name.decode(encoding)) for name in names):
                return encoding
        except UnicodeDecodeError:
            continue
    return None


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


def _are_words_of(letters: str) -> Callable[[str], bool]:
    """Whether all that is not ASCII is words of these letters, each in capitals as words are; a lone letter is none."""
    word_of = re.compile(f"[{letters}]+")

    def fits(text: str) -> bool:
        words = [word for word in WORD.findall(text) if not word.isascii()]
        return (
            any(len(word) > 1 for word in words)
            and all(letter.isascii() or letter.isalpha() for letter in text)
            and all(word in (word.lower(), word.upper(), word.title()) for word in words)
            and all(word_of.fullmatch(word.lower()) for word in words)
        )

    return fits


def _are_korean(text: str) -> bool:
    """Whether all that is not ASCII is Hangul, and most of it syllables that Korean is full of."""
    foreign = [letter for letter in text if not letter.isascii()]
    common = sum(letter in HANGUL for letter in foreign)
    return 2 * common > len(foreign) and all("\uac00" <= letter <= "\ud7a3" for letter in foreign)


def _are_common_chinese(text: str) -> bool:
    """Whether half of the ideographs are of the first level of GB 2312: rare ones alone are another script's bytes."""
    codes = [letter.encode("gbk", "replace") for letter in text if "\u3400" <= letter <= "\ufaff"]
    common = sum(b"\xb0" < code < b"\xd8" and code[-1] > 0xA0 for code in codes)
    return CHINESE.fullmatch(text) is not None and 2 * common >= len(codes)
