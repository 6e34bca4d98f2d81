"""Numbers in notes of the bundled writer: none comes to stand beside another."""

import re

import pytest

from tests.unit.models.test_note_writer import OPTIONS, writer


@pytest.mark.parametrize(
    "said",
    [
        "I take 10 (ten) mg of lisinopril.", "It was 8, now 3.", "It was 8, no, 3.", "It was 8. Now 3.", "Eight, then 3.",
        "I take 500 mg (2 tablets) of metformin.", "It was 180, sorry, 160.",
    ],
)  # fmt: skip
@pytest.mark.parametrize("options", OPTIONS[:2], ids=str)
def test_two_numbers_never_stand_beside_each_other(said: str, options: dict[str, object]) -> None:
    [result] = writer().results(
        f"Doctor: Tell me how it is.\nPatient: I have back pain. {said} It helps me.", **options
    )
    assert not re.search(r"\d[.,]? \d", result["text"] or ""), result["text"]
