"""Faults where the tensors of a pipeline and those of a graph do not match, with the key of the manifest to change."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from models.manifest import MANIFEST_NAME, Fault
from models.pipelines import ANY_LENGTH, TensorSpec
from models.toml_text import quoted

_NAMED = 20  # names listed at most
_PLACE = f"{MANIFEST_NAME}: graph."


def fault(side: str, code: str, detail: str) -> Fault:
    """A fault of the graph's `side`: "inputs", "outputs" or "classes"."""
    return Fault(f"{_PLACE}{side}", code, detail)


def unlike(side: str, spec: TensorSpec, reason: str) -> Fault:
    """The fault of a pipeline's tensor that cannot be fed to, or read from, the graph's."""
    code = "input_differs" if side == "inputs" else "output_differs"
    return fault(side, code, f"{spec.name!r} {reason}: the pipeline needs {spec.dtype} {_shape(spec.shape)}")


def unknown(side: str, name: str, known: Iterable[str]) -> Fault:
    """The fault of a key of the `[graph]` table that maps no tensor of the pipeline."""
    detail = f"the pipeline knows no {name!r}; it has {listed(known)}: rename the key `{side}.{quoted(name)}` in [graph]"
    return fault(side, "graph_name_unknown", detail)


def missing(side: str, spec: TensorSpec, tensors: Iterable[str], written: str | None = None) -> str:
    """What to write if the graph has no tensor of the pipeline's name, or of the one `written` for it in the manifest."""
    known = list(tensors)
    if written is None:
        write = f"write `{side}.{quoted(spec.name)} = ...` in [graph]"
        advice = f"{spec.without}, else {write}" if spec.without else f"so {write}"
        return f"is missing: the graph's {side} are {listed(known)}, {advice}"
    others = f"is mapped to {written!r}, and the graph's {side} are {listed(known)}: "
    remove = "remove" if spec.name in known else "correct"
    return f"{others}{remove} the key `{side}.{quoted(spec.name)}` in [graph]"


def other_shape(lengths: Sequence[int | None]) -> str:
    """Why a tensor is refused whose rows have these lengths."""
    return f"has another shape, {_shape(lengths)}"


def of_graph(fault: Fault, name: str) -> Fault:
    """A fault of a graph that has a table of its own, [graphs.NAME], with the keys of that table."""
    place, table = fault.place.replace(_PLACE, f"{MANIFEST_NAME}: graphs.{name}."), f"[graphs.{name}]"
    return replace(fault, place=place, detail=fault.detail.replace("[graph]", table))


def _shape(lengths: Sequence[int | None]) -> str:
    """The shape of a tensor whose rows have these lengths; None and ANY_LENGTH are dynamic."""
    return f"[{', '.join(['N', *('any' if each in (None, ANY_LENGTH) else str(each) for each in lengths)])}]"


def rows_reason(rows: int | None) -> str | None:
    """Why a first axis of this length is refused; None if it is dynamic, or 1."""
    if rows in (None, 1):
        return None
    return "has a fixed number of rows: export it with a dynamic first axis"


def fits(lengths: Sequence[int | None], shape: Sequence[int]) -> bool:
    """Whether a tensor whose rows have these lengths (None: dynamic) can hold rows of `shape`. [N] is the same as [N, 1]."""
    if shape == (1,) and not lengths:
        return True
    return len(lengths) == len(shape) and all(
        wanted == ANY_LENGTH or found in (None, wanted) for found, wanted in zip(lengths, shape, strict=True)
    )


def listed(names: Iterable[object]) -> str:
    """The names; only the first if there are many."""
    known = list(names)
    more = f" and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
    return (", ".join(map(repr, known[:_NAMED])) or "none") + more
