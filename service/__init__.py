"""The application: rules, persistence and HTTP. Flask lives only in app, wsgi and api."""

import sys

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
