"""What requests and answers about webhooks look like on the wire."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints, WithJsonSchema

from service.api.http.schemas import Time, Wire
from service.lifecycle import PUBLISHED_ACTIONS, DeliveryState
from service.webhooks.messages import PING


def _known(name: str) -> str:
    if name not in PUBLISHED_ACTIONS:
        raise ValueError(f"choose among {', '.join(PUBLISHED_ACTIONS)}")
    return name


def _once_each(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        raise ValueError("name each once")
    return names


EventType = Annotated[
    str, AfterValidator(_known), WithJsonSchema({"type": "string", "enum": list(PUBLISHED_ACTIONS)})
]
EventTypes = Annotated[
    list[EventType],
    Field(min_length=1, max_length=len(PUBLISHED_ACTIONS), json_schema_extra={"uniqueItems": True}),
    AfterValidator(_once_each),
]
Url = Annotated[str, StringConstraints(min_length=1, max_length=2048)]
Description = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00]*$")]
EndpointState = Literal["enabled", "disabled"]

URL = "Where to send: a public https URL without a user name; its name must resolve to public addresses."
TYPES = "Which events to send."
DESCRIPTION = "What the endpoint is for."


class EndpointRequest(Wire):
    """A webhook endpoint to register."""

    url: Url = Field(description=URL, examples=["https://example.org/medqueue"])
    event_types: EventTypes = Field(description=TYPES)
    description: Description = Field("", description=DESCRIPTION)


class EndpointChange(Wire):
    """Fields of a webhook endpoint to change; omitted ones stay as they are."""

    url: Url | None = Field(None, description=URL)
    event_types: EventTypes | None = Field(None, description=TYPES)
    description: Description | None = Field(None, description=DESCRIPTION)
    state: EndpointState | None = Field(
        None, description="`disabled` stops sending; `enabled` resumes and resets the count of failures."
    )


class EndpointView(Wire):
    """A webhook endpoint."""

    id: UUID
    url: str
    description: str
    event_types: list[str]
    state: EndpointState
    disabled_because: str | None = Field(
        description="`request`; `gone`, the receiver answered 410; or `failing`, for five days without a success."
    )
    created_at: datetime
    updated_at: datetime
    failures: int = Field(description="Consecutive tries that failed.")
    failing_since: datetime | None
    closed_until: datetime | None = Field(
        description="Nothing is sent before this time, after failures or because the receiver asked for it."
    )


class CreatedEndpoint(EndpointView):
    """A webhook endpoint just registered, with its signing secret."""

    secret: str = Field(description="Shown only once. Receivers verify signatures with it.")


class EndpointList(Wire):
    """A page of webhook endpoints, newest first."""

    items: list[EndpointView]
    next_cursor: str | None


class RotatedSecret(Wire):
    """A new signing secret."""

    secret: str = Field(description="Shown only once.")
    previous_valid_until: datetime | None = Field(
        description="Until then, deliveries are also signed with the previous secret; null for the first one."
    )


class PingAnswer(Wire):
    """A test event that is on its way."""

    delivery_id: UUID


class ReplayRequest(Wire):
    """Which deliveries of an endpoint to send again."""

    since: Time = Field(description="Those planned at this time or later.")
    until: Time | None = Field(None, description="Those planned before this time; if omitted, all until now.")
    states: Annotated[
        list[Literal["delivered", "dead"]], Field(min_length=1, max_length=2), AfterValidator(_once_each)
    ] = Field(["dead"], description="How they ended.", json_schema_extra={"uniqueItems": True})


class ReplayAnswer(Wire):
    """How many deliveries are sent again, and how many events that the endpoint missed are sent now."""

    replayed: int
    planned: int


class DeliveryView(Wire):
    """The delivery of one event to one endpoint. `endpoint_id` may stand for the origin of a job's callback URL."""

    id: UUID
    endpoint_id: UUID
    event_id: UUID = Field(description="The `webhook-id` of every try.")
    event_type: str
    job_id: UUID | None
    batch_id: UUID | None
    state: DeliveryState
    tries: int
    created_at: datetime
    next_try_at: datetime | None
    finished_at: datetime | None


class TryView(Wire):
    """One try: the receiver's status and the start of its answer, or why there was none."""

    tried_at: datetime
    duration_ms: int
    status: int | None
    error: str | None
    excerpt: str | None


class DeliveryWithTries(DeliveryView):
    """A delivery and its tries, oldest first."""

    history: list[TryView]


class DeliveryList(Wire):
    """A page of deliveries, newest first."""

    items: list[DeliveryView]
    next_cursor: str | None


DeliveredType = Annotated[
    str,
    AfterValidator(lambda name: name if name == PING else _known(name)),
    WithJsonSchema({"type": "string", "enum": [*PUBLISHED_ACTIONS, PING]}),
]
