"""The tables of the drug safety rule as they are in the package, and how to read them with some files changed."""

from functools import cache
from pathlib import Path

from models.drug_safety import DrugSafety

PACKAGE = Path(__file__).parents[3] / "models" / "drug_safety"


@cache
def bundled() -> DrugSafety:
    """The rule with the tables of the package, read once."""
    return DrugSafety.read(lambda path: (PACKAGE / path).read_bytes(), "tables")


def changed(file: str, old: str, new: str) -> DrugSafety:
    """The rule read again, with the first `old` in one of the files replaced."""

    def read(path: str) -> bytes:
        text = (PACKAGE / path).read_text(encoding="utf-8")
        if path == f"tables/{file}":
            assert old in text, f"{path} has no {old!r}"
            text = text.replace(old, new, 1)
        return text.encode()

    return DrugSafety.read(read, "tables")
