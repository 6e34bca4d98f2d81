"""The schema revision that this release needs, found without Alembic: its import takes 12 MB and most of a second."""

from functools import cache
from importlib.resources import files


@cache
def needed_revision() -> str:
    """The number of the newest migration, by which its file is named."""
    names = (path.name for path in files("migrations").joinpath("versions").iterdir())
    return max(name.partition("_")[0] for name in names if name[:4].isdigit())
