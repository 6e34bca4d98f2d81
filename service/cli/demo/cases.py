"""Real cases with known answers: the golden cases of the bundled models."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.bundle import bundled, read_bundle
from models.difference import difference
from service.cli.client import Json
from service.cli.demo.errors import DemoFailed

# Looser than a bundle's own check: a GPU adds up in another order than the CPU on which the answers were made.
LEAST_TOLERANCE = 1e-3


@dataclass(frozen=True)
class KnownCase:
    """An input, and what the model must answer to it."""

    model: str
    note: str
    input: Any  # what the model takes: an object of fields, or {"data": base64}
    expected: Mapping[str, Any]
    tolerance: float

    def verify(self, job: Json) -> None:
        """Raises DemoFailed unless the job succeeded with the expected answer."""
        if job["state"] != "succeeded":
            raise DemoFailed(f"Job {job['id']} of {self.model} is {job['state']}: {job.get('problem')}")
        differs = difference(dict(self.expected), job["result"], max(self.tolerance, LEAST_TOLERANCE))
        if differs is not None:
            raise DemoFailed(f"Job {job['id']} of {self.model} answers otherwise than expected: {differs}")


def bundled_models() -> list[str]:
    """The names of the models that come with medqueue."""
    return [folder.name for folder in bundled()]


def known_cases(model: str) -> list[KnownCase]:
    """The golden cases of a bundled model. Raises DemoFailed when there is no such model."""
    folder = next((folder for folder in bundled() if folder.name == model), None)
    if folder is None:
        raise DemoFailed(f"The model {model} does not come with this release.")
    return [
        KnownCase(model, case.note, case.input, case.expected, case.tolerance)
        for case in read_bundle(folder).golden
    ]
