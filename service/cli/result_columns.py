"""The columns of results' tables: by the result's type and the property, what each shows of an item, and in which words."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from models import units


class Column(NamedTuple):
    """A column of a table: its heading, and where its value is in an item."""

    heading: str
    path: tuple[str, ...]
    said: Callable[[Any], object] = lambda value: value
    whole: bool = False  # never cut: half a sentence of advice may say the opposite


def _number(digits: int) -> Callable[[Any], object]:
    return lambda value: value if value is None else f"{value:.{digits}f}"


def _code(value: Any) -> object:
    return value["code"] if isinstance(value, Mapping) else value


def _joined(value: Any) -> object:
    return ", ".join(f"{part:.0f}" for part in value)


def _most(value: Any) -> object:
    """The greatest of some probabilities."""
    return f"{max(value.values()):.3f}" if value else value


def interval_in_words(value: Any) -> object:
    """An interval with its coverage."""
    return value and f"{value['lower']:.4g} to {value['upper']:.4g} ({value['coverage']:.0%})"


def _unit(value: Any) -> object:
    return value if units.has_unit(value) else None


def _reasons(value: Any) -> object:
    return ", ".join(f"{each['display']} {each['share']:.0%}" for each in value)


def texts_of(value: Any) -> object:
    """The texts of reasons."""
    return ", ".join(each["text"] for each in value)


def _fired(value: Any) -> object:
    """What of an input made a rule of advice hold."""
    return ", ".join(f"{each['display']} {each['value']}" for each in value)


SHARE: Final = _number(3)
PIXELS: Final = _number(1)
OBJECTIONS: Final = (
    Column("ITEM", ("display",)),
    Column("LEVEL", ("level",)),
    Column("AGAINST", ("against",)),
    Column("CONDITION", ("condition",)),
    Column("EXPLANATION", ("explanation",)),
)
UNCHECKED: Final = (
    Column("OF", ("subject",)),
    Column("CHECK", ("check",)),
    Column("WHY", ("reason",)),
    Column("DETAIL", ("detail",), whole=True),
)
SERIOUS: Final = ("contraindicated", "not recommended")
# By the result's type and the property.
COLUMNS: Final[Mapping[tuple[str, str], Sequence[Column]]] = {
    ("detections", "detections"): (
        Column("FOUND", ("display",)),
        Column("LABEL", ("label",)),
        Column("SCORE", ("score",), SHARE),
        *(Column(f"{edge.upper()} px", ("box", edge), PIXELS) for edge in ("left", "top", "right", "bottom")),
    ),
    ("image-segmentation", "classes"): (
        Column("CLASS", ("display",)),
        Column("LABEL", ("label",)),
        Column("INSTANCES", ("instances",)),
        Column("AREA px", ("area",)),
        Column("SHARE", ("share",), SHARE),
    ),
    ("image-segmentation", "instances"): (
        Column("ID", ("id",)),
        Column("LABEL", ("label",)),
        Column("AREA px", ("area",)),
        Column("LEFT, TOP, WIDTH, HEIGHT px", ("box",), _joined),
        Column("CENTRE x, y px", ("centroid",), _joined),
        Column("PROBABILITY", ("probability",), SHARE),
    ),
    ("entities", "entities"): (
        Column("TEXT", ("text",)),
        Column("IS", ("display",)),
        Column("LABEL", ("label",)),
        Column("CODE", ("code",), _code),
        Column("PROBABILITY", ("probability",), SHARE),
        Column("START", ("start",)),
        Column("END", ("end",)),
    ),
    ("search", "hits"): (
        Column("RANK", ("rank",)),
        Column("DOCUMENT", ("id",)),
        Column("TITLE", ("title",)),
        Column("LINK", ("url",), whole=True),
        Column("SCORE", ("score",), SHARE),
        Column("SIMILARITY", ("similarity",), SHARE),
        Column("PASSAGE", ("text",)),
    ),
    ("beats", "beats"): (
        Column("TIME s", ("time_s",), _number(3)),
        Column("SAMPLE", ("sample",)),
        Column("LABEL", ("label",)),
        Column("PROBABILITY", ("probabilities",), _most),
        Column("ABSTAINED BECAUSE", ("abstain_reason",)),
    ),
    ("recommendation", "items"): (
        Column("RANK", ("rank",)),
        Column("ITEM", ("display",)),
        Column("CODE", ("code",), _code),
        Column("SCORE", ("score",), SHARE),
        Column("USUAL", ("usual",), SHARE),
        Column("BECAUSE OF", ("reasons",), _reasons),
    ),
    ("recommendation", "places"): (
        Column("RANK", ("rank",)),
        Column("PLACE", ("name",)),
        Column("ADDRESS", ("address",)),
        Column("DISTANCE km", ("distance_km",), _number(1)),
        Column("BECAUSE OF", ("reasons",), texts_of, whole=True),
        Column("NOT KNOWN", ("unknown",)),
    ),
    ("advice", "seek_care"): (
        Column("URGENCY", ("urgency",)),
        Column("WHAT TO DO", ("text",), whole=True),
        Column("BECAUSE OF", ("because",), _fired),
        Column("SOURCE", ("url",), whole=True),
    ),
    ("advice", "items"): (
        Column("RANK", ("rank",)),
        Column("CATEGORY", ("category",)),
        Column("ADVICE", ("text",), whole=True),
        Column("BECAUSE OF", ("because",), _fired),
        Column("UNCHECKED", ("unchecked",)),
        Column("SOURCE", ("url",), whole=True),
    ),
    ("advice", "withheld"): (
        Column("ITEM", ("id",)),
        Column("CATEGORY", ("category",)),
        Column("WHY", ("reason",), whole=True),
        Column("BECAUSE OF", ("because",), _fired),
    ),
    ("treatment_plan", "diagnoses"): (
        Column("DIAGNOSIS", ("display",)),
        Column("LABEL", ("label",)),
        Column("PROBABILITY", ("probability",), SHARE),
        Column("CODE", ("code",), _code),
        Column("MODEL", ("model",)),
        Column("VERSION", ("model_version",)),
        Column("JOB", ("job",)),
        Column("USED BY", ("used_by",)),
        Column("NOT USED BECAUSE", ("unrecognised",), whole=True),
    ),
    ("recommendation", "removed"): OBJECTIONS,
    ("recommendation", "flagged"): OBJECTIONS,
    ("recommendation", "flagged_present"): OBJECTIONS,
    ("recommendation", "unchecked"): UNCHECKED,
    ("recommendation", "unchecked_present"): UNCHECKED,
    ("advice", "unchecked"): UNCHECKED,
    ("treatment_plan", "unchecked"): UNCHECKED,
}
TASKS: Final = (
    Column("TASK", ("task",)),
    Column("ANSWER", ("answer",)),
    Column("UNIT", ("unit",), _unit),
    Column("INTERVAL", ("interval",), interval_in_words),
    Column("PROBABILITY OF POSITIVE CLASS", ("probability",), SHARE),
    Column("POSITIVE FROM", ("threshold",), SHARE),
    Column("SIMILARITY", ("similarity",), SHARE),
    Column("ABSTAINED BECAUSE", ("abstain_reason",)),
)
REGRESSION: Final[Mapping[str, Callable[[Any], object]]] = {
    "interval": interval_in_words,
    "range": lambda value: value and f"{value['minimum']:.4g} to {value['maximum']:.4g}",
    "unit": _unit,
}
MOLECULE: Final = {"weight": "monoisotopic mass (u)"}
IMAGES: Final = ("detections", "image-generation", "image-segmentation")
UNITS: Final[Mapping[tuple[str, str], str]] = {
    **{(kind, side): "px" for kind in IMAGES for side in ("width", "height")},
    ("beats", "duration_s"): "s",
    ("beats", "longest_without_beats_s"): "s",
    ("beats", "heart_rate"): "/min",
    ("image-segmentation", "min_area"): "px",
}
