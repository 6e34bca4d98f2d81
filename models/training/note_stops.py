"""Where a sentence ends, and who speaks: what the tokenizer of notes reads before a dialogue is cut into words.

A negation reaches to the end of its sentence, so a stop that ends none must not end it: `I don't think Dr. Lee found cancer.`
would leave `Lee found cancer.` Upper and lower case tell some stops apart, and words in small letters come later. So:

- the stop of a title (`Dr. Lee`), and that of another abbreviation in front of a small letter (`hx. of asthma`), is left out;
- dots between single letters (`a.m.`, `U.S.`) are read as points;
- the stop of an abbreviation that ends a turn is read as `!`, behind which a denial may go on in the next turn;
- a stop that may or may not end a sentence is read as PAUSE: dots in a row, a stop in front of a small letter, a comma or a
  dash (`I never, ever! had cancer`), one behind another abbreviation, behind a word that needs another (`allergic to.`), or
  behind a negation in front of what has no subject (`I do not. Have asthma`). What `note_statements` keeps of such is less.

Labels of speakers: a number is left out (`Doctor_2:`), each guest is a guest (`Guest_nurse:`), and any other label at the
beginning of a line, or of some people inside of one, is read as UNKNOWN, whose turns say nothing.
"""

from __future__ import annotations

from typing import Final

PAUSE: Final = "\u2026"
UNKNOWN: Final = "guest"  # and a colon: `Guest_family:` has more between them

TITLES: Final = (
    "dr", "drs", "mr", "mrs", "ms", "mx", "prof", "rev", "fr", "sr", "jr", "st", "mt", "capt", "cpt", "lt", "sgt",
    "col", "gen", "maj", "gov", "sen", "rep", "hon", "pres", "supt", "asst", "assoc", "vs",
)  # fmt: skip
ABBREVIATIONS: Final = (
    "abd", "al", "amt", "appt", "approx", "apr", "aug", "ave", "avg", "blvd", "cap", "caps", "corp", "dec", "dept",
    "diag", "esp", "est", "etc", "ext", "feb", "fig", "fri", "hist", "hosp", "inc", "incl", "inj", "jan", "jul",
    "jun", "mar", "max", "med", "meds", "min", "mins", "mon", "neuro", "nov", "oct", "op", "oz", "prev", "resp",
    "sep", "sept", "tab", "tabs", "temp", "thu", "thurs", "tue", "tues", "univ", "vol", "wed",
)  # fmt: skip
"""Those with a vowel; a short word without one is taken for an abbreviation."""
UNENDED: Final = (
    "a", "an", "and", "any", "as", "at", "because", "but", "by", "for", "from", "if", "into", "my", "nor", "of",
    "or", "our", "than", "the", "their", "to", "with", "your",
)  # fmt: skip
"""Words that end no sentence but one that is broken off, or one of few."""
SUBJECTS: Final = (
    "I", "It", "We", "He", "She", "They", "There", "You", "My", "The", "That", "This", "These", "Those", "But",
    "And", "So", "Just", "Only", "No", "Not", "Never", "What", "How", "Why", "When", "Where", "Do", "Does", "Is",
    "Are", "Thank", "Thanks",
)  # fmt: skip
ROLES: Final = (
    "nurse", "interpreter", "translator", "mother", "father", "mom", "dad", "parent", "wife", "husband", "spouse",
    "partner", "son", "daughter", "sister", "brother", "grandmother", "grandfather", "caregiver", "caretaker",
    "guardian", "family", "friend", "physician", "provider", "clinician", "therapist", "pharmacist", "surgeon",
    "paramedic", "assistant", "student", "resident", "guest", "pt", "dr",
)  # fmt: skip
"""Speakers whose labels are known in the middle of a line, too."""

_CONSONANTS: Final = "[B-DF-HJ-NP-TV-XZb-df-hj-np-tv-xz]"
_LABEL: Final = r"(?i:doctor|patient|guest)\w*[ \t]*:"
_NEXT: Final = rf"\s+(?!{_LABEL})"
_SAME: Final = r"(?i:doctor|patient|guest_(?:family|clinician))[ \t]*:"
_WORD: Final = r"[\w.'()#/-]+"


def label_rules() -> list[tuple[str, str]]:
    """Patterns (Oniguruma) and what replaces them: labels of speakers."""
    roles = "|".join(ROLES)
    return [
        (r"(?i)\bdoctor[_ ]?[0-9]+(?=[ \t]*:)", "Doctor"),
        (r"(?i)\bguest_(?!(?:family|clinician)[ \t]*:)\w+(?=[ \t]*:)", "Guest_family"),
        (
            rf"^[^\w\n]{{0,4}}(?!{_SAME})[^\W\d_]{_WORD[:-1]}*(?:[ \t]+{_WORD}){{0,3}}[\])*]{{0,3}}[ \t]*:(?!\d)",
            f" {UNKNOWN}: ",
        ),
        (rf"(?<=\s)(?i:{roles})(?:[ _]?[0-9]+)?[ \t]*:(?!\d)", f"{UNKNOWN}: "),
    ]


def stop_rules(point: str) -> list[tuple[str, str]]:
    """The same for stops, in the order in which they apply; `point` is what a point is read as."""
    short = "|".join(rf"[^'\w]{_CONSONANTS}{{{size}}}\." for size in (2, 3, 4))
    letters = rf"[^'\w][A-HJ-Zb-z]\.|{point}[A-Za-z]\."
    hummed = r"(?<![HhMmSs][HhMm]\.)(?<![^'\w][Ss]h\.)(?<![^'\w][A-Za-z] [A-Z]\.)"
    abbreviated = rf"\.(?<=\b{_any_case(ABBREVIATIONS)}|{short}|{letters}){hummed}"
    ends = "|".join(rf"\b{word}[.!]" for word in UNENDED)
    negations = "|".join(rf"{word}[.!]" for word in (r"\bnot", r"\bnever", "n't", r"\bcannot"))
    return [
        (r"\.(?:[ \t]*\.)+", PAUSE),
        (r"\.(?<=\b[A-Za-z]\.|\bPh\.)(?=[A-Za-z]\b)", point),
        (rf"\.(?<=\b{_any_case(TITLES)})(?={_NEXT}\S)", ""),
        (rf"\.(?<=\b{_any_case(TITLES)})(?=\s+{_LABEL})", PAUSE),
        (rf"{abbreviated}(?=\s+{_LABEL})", "!"),
        (rf"{abbreviated}(?={_NEXT}[a-z0-9])", ""),
        (rf"{abbreviated}(?={_NEXT}\S)", PAUSE),
        (r"\.(?=[ \t]*[,;])", ""),
        (rf"[.?!]+[\"')\]]*(?={_NEXT}[\"'(\[]*[a-z])", PAUSE),
        (r"[.?!]+(?=[a-z])(?<=[a-z][.?!])", PAUSE),
        (r"[?!]+(?=[ \t]*[,;])", PAUSE),
        (r"[.?!]+(?=[ \t]*(?:[\u2013\u2014]|-+[ \t]))", PAUSE),
        (rf"[.!](?<={ends})", PAUSE),
        (rf"[.!](?<={negations})(?={_NEXT}(?!(?:{'|'.join(SUBJECTS)})\b)\S)", PAUSE),
    ]


def _any_case(words: tuple[str, ...]) -> str:
    """Alternatives for these words and their stop, whatever their case; a look-behind takes no flag for that."""
    found = ["".join(f"[{each.upper()}{each}]" for each in word) + r"\." for word in words]
    return r"|\b".join(found)
