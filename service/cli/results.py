"""Results as a reader sees them: what is nested, such as entities, boxes, beats or ranked passages, as short tables with units.

`--json` writes them exactly. Kinds that are not listed here, such as those of somebody's own pipeline, get a column per key.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from rich.console import Group, RenderableType

from models import units
from service.cli.client import Json
from service.cli.result_columns import (
    COLUMNS,
    MOLECULE,
    REGRESSION,
    SERIOUS,
    TASKS,
    UNITS,
    Column,
    interval_in_words,
    texts_of,
)
from service.cli.tables import FEW, artifacts, cell_text, fields, listing, text

MOST_ROWS: Final = 20  # of a list, shown before "and N more"
MOST_CHARACTERS: Final = 80  # of a text in a table
CUT: Final = "..."  # stands for the rest of it
ARTIFACTS: Final = "artifacts"
ABSTENTION: Final = ("abstained", "abstain_reason")


def result(found: Json) -> list[RenderableType]:
    """A result: single values first, then a table for each list of objects, then results within it, then its files."""
    return [text("\nResult", "bold"), *_shown(found)]


def _shown(found: Json) -> list[RenderableType]:
    kind = str(found.get("type"))
    pairs, tables = [], list[RenderableType]()
    if found.get("abstained") is True:  # read before the numbers that are then no answer
        found = {name: found[name] for name in ABSTENTION if name in found} | found
    for name, value in found.items():
        if name == ARTIFACTS:
            continue
        if isinstance(value, Mapping) and value.get("type") in _ANSWERS:
            tables += [text(f"\n{name.capitalize()}", "bold cyan"), *_shown(dict(value))]
        elif rows := _rows(kind, name, value):
            tables.append(Group(text(f"\n{name} ({len(rows)})", "bold"), _table(kind, name, rows)))
        else:
            pairs.append((name, single(kind, name, value)))
    if listed := found.get(ARTIFACTS):
        tables += [text("\nArtifacts", "bold"), artifacts(listed)]
    return [fields(pairs), *tables]


def single(kind: str, name: str, value: Any) -> object:
    """A value that is no list of objects, with its unit; probabilities are sorted, the greatest first."""
    if name == "probabilities" and _are_shares(value):
        ranked = sorted(value.items(), key=lambda pair: -pair[1])
        more = f" and {len(ranked) - FEW} more" if len(ranked) > FEW else ""
        return ", ".join(f"{label} {share:.3f}" for label, share in ranked[:FEW]) + more
    if kind == "regression" and name in REGRESSION:
        return REGRESSION[name](value)
    if (kind, name) == ("molecule-property", "molecule") and isinstance(value, Mapping):
        return {MOLECULE.get(key, key): part for key, part in value.items()}
    unit = UNITS.get((kind, name))
    return value if unit is None or value is None else f"{cell_text(value)} {unit}"


def _are_shares(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(type(each) is float for each in value.values())


def _rows(kind: str, name: str, value: Any) -> list[Json]:
    """The items of a list of objects, or of an object of objects, by name; empty for anything else."""
    if isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
        return value
    if not isinstance(value, dict) or not value or not all(isinstance(each, dict) for each in value.values()):
        return []
    if (kind, name) == ("molecule-property", "tasks"):
        return [{"task": task, "answer": task_answer(each), **each} for task, each in value.items()]
    return [{"name": key, **each} for key, each in value.items()]


def task_answer(found: Json) -> object:
    """What was answered of a task: its label, or its number."""
    return found["label"] if "label" in found else found.get("value")


def _table(kind: str, name: str, rows: Sequence[Json]) -> RenderableType:
    columns = _columns(kind, name, rows)
    shown = [[_cell(row, column) for column in columns] for row in rows[:MOST_ROWS]]
    kept = [place for place in range(len(columns)) if any(row[place] is not None for row in shown)]
    table = listing(
        [columns[place].heading for place in kept],
        ([row[place] for place in kept] for row in shown),
        empty="",
    )
    notes = [f"and {len(rows) - MOST_ROWS} more: --json has all"] if len(rows) > MOST_ROWS else []
    if any(isinstance(cell, str) and cell.endswith(CUT) for row in shown for cell in row):
        notes.append(f"texts are cut at {MOST_CHARACTERS} characters: --json has the whole ones")
    return Group(table, *map(text, notes)) if notes else table


def _columns(kind: str, name: str, rows: Sequence[Json]) -> Sequence[Column]:
    if (kind, name) == ("molecule-property", "tasks"):
        return TASKS
    known = COLUMNS.get((kind, name), ())
    if known and all({column.path[0] for column in known} <= row.keys() for row in rows):
        return known
    names = dict.fromkeys(key for row in rows for key in row)  # of a kind that is not ours
    return [Column(key.upper(), (key,)) for key in names]


def _cell(row: Json, column: Column) -> object:
    value: Any = row
    for key in column.path:
        value = value.get(key) if isinstance(value, Mapping) else None
    said = None if value is None else _said(value, column)
    return said if said is None or column.whole else shortened(said)


def _said(value: Any, column: Column) -> object:
    try:
        return column.said(value)
    except (KeyError, TypeError, ValueError):  # of somebody's own pipeline, which calls it the same
        return value


def shortened(value: object) -> str:
    """A value in words on one line, cut at MOST_CHARACTERS."""
    words = " ".join(cell_text(value).split())
    return words if len(words) <= MOST_CHARACTERS else f"{words[: MOST_CHARACTERS - len(CUT)]}{CUT}"


def answer(found: Json) -> str | None:
    """A nested result in a few words; None for other kinds."""
    in_words = _ANSWERS.get(str(found.get("type")))
    try:
        return None if in_words is None else in_words(found)
    except (KeyError, TypeError, AttributeError):  # of somebody's own pipeline, which calls it the same
        return None


def few(words: Iterable[str]) -> str:
    """The first of some words, and how many more there are."""
    all_words = list(words)
    more = f" and {len(all_words) - FEW} more" if len(all_words) > FEW else ""
    return ", ".join(all_words[:FEW]) + more or "nothing"


def _number_found(found: Json) -> str:
    of_interval = "" if found["interval"] is None else f", {interval_in_words(found['interval'])}"
    of_what = f"{found['quantity']}: " if "quantity" in found else ""  # not in older results
    return f"{of_what}{cell_text(found['value'])}{units.after(found['unit'])}{of_interval}"


def _task(name: str, found: Json) -> str:
    if found["abstained"]:
        return f"{name} abstained"
    return f"{name} {cell_text(task_answer(found))}{units.after(found.get('unit'))}"


def ranking(found: Json) -> str:
    """The first places, recommended items with their first reasons, and what a rule removed and says of present ones."""
    items = [
        f"{item['rank']}. {item['display']}"
        + (
            f" (because of {', '.join(each['display'] for each in item['reasons'])})"
            if item["reasons"]
            else ""
        )
        for item in found["items"]
    ]
    of_present = [each for each in found.get("flagged_present", []) if each["level"] in SERIOUS]
    removed, present = (
        dict.fromkeys(f"{each['display']} ({each['level']}: {each['against']})" for each in some)
        for some in (found["removed"], of_present)
    )
    unknown = [each["code"] for each in found["unknown"]]
    search = found.get("place_search") or {}
    places = [f"{each['name']} ({texts_of(each['reasons'])})" for each in found.get("places", [])[:FEW]]
    told = {
        "no place": [search["none_because"]] if search.get("none_because") else [],
        "removed": removed,
        "taken, to be reviewed": present,
        "not known": unknown,
    }
    first = [search["first"].rstrip(".")] if search.get("first") else []
    first += [f"places: {', '.join(places)}"] if places else []
    return "; ".join([*first, *items, *(f"{name}: {', '.join(each)}" for name, each in told.items() if each)])


def advice(found: Json) -> str:
    """When to see a doctor, the first pieces of advice, and how much was withheld, or could not be decided or checked."""
    care = [f"see a doctor ({each['urgency']}): {each['text']}" for each in found["seek_care"]]
    items = [f"{item['rank']}. {item['text']}" for item in found["items"][:FEW]]
    more = [f"and {count} more" for count in [len(found["items"]) - FEW] if count > 0]
    told = {
        "withheld": {each["id"] for each in found["withheld"]},
        "undetermined": found["undetermined"],
        "unchecked": found.get("unchecked", []),  # not in older results
    }
    counts = ", ".join(f"{len(each)} {name}" for name, each in told.items() if each)
    return " ".join([*care, *(items or ["no advice"]), *more, *([f"({counts})"] if counts else [])])


def plan(found: Json) -> str:
    """The diagnoses that a plan follows, and each of its sections, in one line."""
    used = few(each["display"] or each["label"] for each in found["diagnoses"] if each["used_by"])
    sections = {name: part for name, part in found.items() if isinstance(part, dict) and "type" in part}
    told = [f"{name}: {_ANSWERS[part['type']](part)}" for name, part in sections.items()]
    doubts = [
        f"{each['subject']}: {each['detail']}" for each in found.get("unchecked", [])
    ]  # not in older results
    return ". ".join([f"after {used}", *doubts, *told])


_ANSWERS: Final[Mapping[str, Callable[[Json], str]]] = {
    "advice": advice,
    "detections": lambda found: few(f"{count} {label}" for label, count in found["counts"].items()),
    "image-generation": lambda found: (
        f"{found['count']} synthetic of {found['label']}, seed {found['seed']}: {found['notice']}"
    ),
    "image-segmentation": lambda found: few(
        f"{each['instances']} {each['label']} ({each['share']:.1%} of the image)" for each in found["classes"]
    ),
    "entities": lambda found: few(f"{each['text']} ({each['label']})" for each in found["entities"]),
    "search": lambda found: few(
        f"{each['title'] or each['id']} ({each['score']:.3f})" for each in found["hits"]
    ),
    "beats": lambda found: (
        f"{few(f'{count} {label}' for label, count in found['counts'].items())}, heart rate {found['heart_rate']:.0f} /min"
    ),
    "recommendation": ranking,
    "molecule-property": lambda found: few(_task(name, each) for name, each in found["tasks"].items()),
    "regression": _number_found,
    "treatment_plan": plan,
}
