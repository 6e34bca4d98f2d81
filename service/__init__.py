"""The application: rules, persistence and HTTP. Flask lives only in app, wsgi and api."""

import gc
import sys

# A start, a request or a batch makes thousands of objects and hardly a cycle. With Python's own threshold of 700 objects a
# fifth of the CPU of a start went into walking what was imported so far.
YOUNG_OBJECTS = 50_000
gc.set_threshold(YOUNG_OBJECTS, 20, 100)

# structlog imports rich where it is installed, for colours that a JSON log has none of: 3 MB in every process.
_rich = sys.modules.get("rich")
sys.modules["rich"] = None  # type: ignore[assignment]
try:
    import structlog  # noqa: F401
finally:
    if _rich is None:
        del sys.modules["rich"]
    else:
        sys.modules["rich"] = _rich
