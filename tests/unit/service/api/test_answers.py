"""How answers are written: the same bytes, whether they have few items or many."""

import pytest
from pydantic_core import to_json

from service.api.http.answers import FEW, answer


@pytest.mark.parametrize("count", [0, FEW, FEW + 1, 1000])
@pytest.mark.parametrize("more", [{}, {"next_cursor": '"items":[]'}, {"another": {"items": []}}])
def test_many_items_are_written_like_few(count: int, more: dict[str, object]) -> None:
    items = [{"id": number, "text": '\u00e9, "items":[]'} for number in range(count)]
    for content in ({"items": items} | more, more | {"items": items}):
        assert answer(content).get_data() == to_json(content)
