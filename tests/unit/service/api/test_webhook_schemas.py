"""What a request about webhooks must look like."""

from typing import Annotated, Any

import pytest
from pydantic import AfterValidator, BaseModel

from service.api.http.requests import part_as
from service.api.webhooks.schemas import EndpointChange, EndpointRequest, ReplayRequest
from service.errors import RequestInvalid
from service.lifecycle import PUBLISHED_ACTIONS

GOOD: dict[str, Any] = {"url": "https://example.org", "event_types": ["job.failed"]}


def faults(schema: type[BaseModel], body: Any) -> list[str]:
    with pytest.raises(RequestInvalid) as caught:
        part_as(schema, body)
    return [error.pointer for error in caught.value.errors]


def test_every_event_type_can_be_asked_for() -> None:
    assert part_as(EndpointRequest, GOOD | {"event_types": list(PUBLISHED_ACTIONS)}).event_types == list(
        PUBLISHED_ACTIONS
    )
    assert part_as(EndpointRequest, GOOD).description == ""


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"url": ""}, "/url"),
        ({"url": 7}, "/url"),
        ({"url": "https://" + "a" * 2048}, "/url"),
        ({"event_types": []}, "/event_types"),
        ({"event_types": "job.failed"}, "/event_types"),
        ({"event_types": ["job.failed", "job.failed"]}, "/event_types"),
        ({"event_types": ["job.submitted"]}, "/event_types/0"),
        ({"event_types": ["webhook.ping"]}, "/event_types/0"),
        ({"event_types": [1]}, "/event_types/0"),
        ({"description": "d" * 201}, "/description"),
        ({"description": "a\x00b"}, "/description"),
        ({"secret": "whsec_x"}, "/secret"),
    ],
)
def test_a_bad_endpoint_is_refused_at_its_field(change: dict[str, Any], pointer: str) -> None:
    assert faults(EndpointRequest, GOOD | change) == [pointer]


@pytest.mark.parametrize(
    ("event_types", "detail"),
    [
        (["job.failed", "job.failed"], "name each once"),
        (["job.submitted"], f"choose among {', '.join(PUBLISHED_ACTIONS)}"),
        ([1], "Input should be a valid string"),
    ],
)
def test_a_validators_words_come_without_the_name_of_its_error(event_types: list[Any], detail: str) -> None:
    with pytest.raises(RequestInvalid) as caught:
        part_as(EndpointRequest, GOOD | {"event_types": event_types})
    assert [error.detail for error in caught.value.errors] == [detail]


def _assert(name: str) -> str:
    assert not name, "leave it empty, please"
    return name


class Checked(BaseModel):
    """Its only rule is an assertion, whose words have a comma."""

    name: Annotated[str, AfterValidator(_assert)]


def test_an_assertions_words_come_without_its_name() -> None:
    with pytest.raises(RequestInvalid) as caught:
        part_as(Checked, {"name": "x"})
    [error] = caught.value.errors
    assert error.detail.partition("\n")[0] == "leave it empty, please"


def test_an_endpoint_needs_a_url_and_event_types() -> None:
    assert faults(EndpointRequest, {}) == ["/url", "/event_types"]


def test_a_change_may_leave_everything_out() -> None:
    assert part_as(EndpointChange, {}) == EndpointChange(
        url=None, event_types=None, description=None, state=None
    )


@pytest.mark.parametrize("state", ["deleted", "Enabled", "", 1, True])
def test_an_endpoint_is_enabled_or_disabled_and_nothing_else(state: object) -> None:
    assert faults(EndpointChange, {"state": state}) == ["/state"]


def test_dead_deliveries_are_sent_again_unless_told_otherwise() -> None:
    wanted = part_as(ReplayRequest, {"since": "2026-11-22T08:30:00Z"})
    assert (wanted.states, wanted.until) == (["dead"], None)


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"since": "2026-11-22T08:30:00"}, "/since"),
        ({"since": 1}, "/since"),
        ({"until": "tomorrow"}, "/until"),
        ({"states": []}, "/states"),
        ({"states": ["queued"]}, "/states/0"),
        ({"states": ["dead", "dead"]}, "/states"),
    ],
)
def test_a_bad_replay_is_refused_at_its_field(change: dict[str, Any], pointer: str) -> None:
    assert faults(ReplayRequest, {"since": "2026-11-22T08:30:00Z"} | change) == [pointer]
