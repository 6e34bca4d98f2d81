"""Faults of features whose values the graph's encoder does not know: most graphs answer them, as if nothing were given."""

from typing import Any

from models.feeding import Feeding
from models.manifest import MANIFEST_NAME, Fault
from models.table_guess import encoded_values
from models.tensor_faults import listed


def category_faults(graph: Any, feeding: Feeding) -> list[Fault]:
    """Faults of columns that may be fed other values than those of the one encoder of an ONNX `graph` that they go to."""
    faults = []
    for name, place, column in feeding.columns():
        known = encoded_values(graph, name, place) if column.values else ()
        unknown = [value for value in column.values if value not in known]
        # A cast may make numbers of texts, or the reverse, on the way to the encoder.
        if known and unknown and type(known[0]) is type(unknown[0]):
            reason = (
                f"the graph's encoder does not know {listed(unknown)} of {column.name!r}, whose values are "
                f"{listed(column.values)}: it knows {listed(known)}, spelled in this way"
            )
            faults.append(Fault(f"{MANIFEST_NAME}: parameters.features", "values_unknown", reason))
    return faults
