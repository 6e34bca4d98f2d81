"""A model whose input has parts that are stored apart takes no file, whatever was checked when its batch was made."""

from typing import Any, cast

import pytest

from models.pipelines import Part, PartKind
from service.batches.files.formats import wanted_of
from service.batches.files.problems import FileProblem, FileRefused
from tests.unit.service.batches.files.example_triage import Triage


@pytest.mark.parametrize(
    "parts", [{"scan": Part(PartKind.FILE)}, {"finding": Part(PartKind.RESULT, required=False)}]
)
def test_it_is_refused_with_the_names_of_its_parts(parts: dict[str, Part]) -> None:
    class WithParts(Triage):
        pass

    cast(Any, WithParts).parts = parts
    assert wanted_of(Triage())
    with pytest.raises(FileRefused, match="|".join(parts)) as refused:
        wanted_of(WithParts())
    assert refused.value.problem is FileProblem.MODEL_HAS_PARTS
