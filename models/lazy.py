"""Large modules, imported on first use.

The API checks inputs with the code that also feeds graphs in a worker, but needs no arrays for it: numpy and pyarrow would
increase its memory by half.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
else:

    class _Lazy:
        """Stands for the module `name`."""

        def __init__(self, name: str) -> None:
            self._name = name

        def __getattr__(self, attribute: str) -> Any:
            value = getattr(importlib.import_module(self._name), attribute)
            setattr(self, attribute, value)  # from now on the attribute is found without calling this method
            return value

    np = _Lazy("numpy")
    pa = _Lazy("pyarrow")
    pq = _Lazy("pyarrow.parquet")

__all__ = ["np", "pa", "pq"]
