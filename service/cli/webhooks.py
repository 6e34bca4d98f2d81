"""`medqueue webhooks`: endpoints and deliveries, and a way to receive events where no webhook can reach."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

import click

from service.cli.exits import ExitCode
from service.cli.options import InOrder, Moment, over_api
from service.lifecycle import PUBLISHED_ACTIONS, DeliveryState

if TYPE_CHECKING:
    from service.cli.client import ApiClient, Json
    from service.cli.output import Output

endpoint_argument = click.argument("endpoint_id", type=click.UUID, metavar="ID")
event_option = click.option(
    "--event",
    "event_types",
    multiple=True,
    metavar="TYPE",
    type=click.Choice(PUBLISHED_ACTIONS),
    help="An event type, such as job.succeeded (repeatable).",
)
KEEP_IT = "Keep the secret now: it is shown only once."


@click.group("webhooks", cls=InOrder)
def webhooks() -> None:
    """Receive events, see what was sent, send it again."""


@webhooks.command("list")
@over_api
def list_endpoints(api: ApiClient, out: Output) -> int:
    """List the webhook endpoints, newest first."""
    from service.cli import tables

    found = api.endpoints()
    out.show({"items": found}, lambda: tables.endpoints(found))
    return ExitCode.OK


@webhooks.command("create")
@click.argument("receiver", metavar="URL")
@event_option
@click.option("--description", default="", metavar="TEXT", help="What the endpoint is for.")
@over_api
def create_endpoint(
    api: ApiClient, out: Output, *, receiver: str, event_types: tuple[str, ...], description: str
) -> int:
    """Register a URL for events, and show its signing secret once.

    \b
    Example:
      medqueue webhooks create https://example.org/hook --event job.succeeded --event job.failed
    """
    from service.cli import tables

    if not event_types:
        raise click.UsageError("Say with --event what to send.")
    created = api.create_endpoint(receiver, list(event_types), description)
    out.show(created, lambda: tables.fields(created.items()))
    out.note(KEEP_IT)
    return ExitCode.OK


@webhooks.command("delete")
@endpoint_argument
@over_api
def delete_endpoint(api: ApiClient, out: Output, endpoint_id: UUID) -> int:
    """Delete an endpoint: nothing more is sent to it."""
    api.delete_endpoint(str(endpoint_id))
    return _tell(out, {"id": str(endpoint_id), "state": "deleted"})


@webhooks.command("rotate")
@endpoint_argument
@over_api
def rotate_secret(api: ApiClient, out: Output, endpoint_id: UUID) -> int:
    """Make a new signing secret; the old one also signs for a day."""
    rotated = api.rotate_secret(str(endpoint_id))
    out.note(KEEP_IT)
    return _tell(out, rotated)


@webhooks.command("ping")
@endpoint_argument
@over_api
def ping_endpoint(api: ApiClient, out: Output, endpoint_id: UUID) -> int:
    """Send a test event to an endpoint.

    See the outcome with `medqueue webhooks deliveries --endpoint ID`.
    """
    return _tell(out, api.ping(str(endpoint_id)))


@webhooks.command("deliveries")
@click.option("--endpoint", type=click.UUID, metavar="ID", help="Only to this endpoint.")
@click.option("--state", type=click.Choice([state.value for state in DeliveryState]), help="Only these.")
@click.option("--job", type=click.UUID, metavar="ID", help="Only of this job.")
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=20, show_default=True, help="At most this many."
)
@over_api
def list_deliveries(
    api: ApiClient, out: Output, *, endpoint: UUID | None, state: str | None, job: UUID | None, limit: int
) -> int:
    """List deliveries, newest first.

    \b
    Example:
      medqueue webhooks deliveries --state dead --limit 100
    """
    from service.cli import tables

    wanted = {"endpoint": endpoint and str(endpoint), "state": state, "job": job and str(job)}
    found = api.deliveries({name: value for name, value in wanted.items() if value is not None}, limit)
    out.show({"items": found}, lambda: tables.deliveries(found))
    return ExitCode.OK


@webhooks.command("replay")
@click.argument("delivery_id", type=click.UUID, metavar="[DELIVERY_ID]", required=False)
@click.option("--endpoint", type=click.UUID, metavar="ID", help="Deliveries to this endpoint.")
@click.option(
    "--since", type=Moment(UTC), metavar="ISO", help="Planned at this time or later; UTC if it names no zone."
)
@click.option("--until", type=Moment(UTC), metavar="ISO", help="Planned before this time; now if omitted.")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(["delivered", "dead"]),
    help="How they ended (default: dead).",
)
@over_api
def replay(
    api: ApiClient,
    out: Output,
    *,
    delivery_id: UUID | None,
    endpoint: UUID | None,
    since: datetime | None,
    until: datetime | None,
    states: tuple[str, ...],
) -> int:
    """Send a delivery again, or those of a time range.

    With --endpoint and --since also the events that the endpoint missed while it was disabled are sent; none from before
    it was registered, or before it asked for them.

    \b
    Examples:
      medqueue webhooks replay 0199f2f0-5b1e-7c70-8a3b-2f6f0c3f9d11
      medqueue webhooks replay --endpoint 0199f2f0-5b1e-7c70-8a3b-2f6f0c3f9d11 --since 2026-11-22T00:00:00Z
    """
    if delivery_id is not None:
        if endpoint or since or until or states:
            raise click.UsageError("Name a delivery, or --endpoint and --since, not both.")
        return _tell(out, api.replay(str(delivery_id)))
    if endpoint is None or since is None:
        raise click.UsageError("Name a delivery, or --endpoint and --since.")
    wanted: Json = {"since": since.isoformat()}
    if until is not None:
        wanted["until"] = until.isoformat()
    if states:
        wanted["states"] = list(dict.fromkeys(states))
    return _tell(out, api.replay_range(str(endpoint), wanted))


@webhooks.command("listen")
@click.option(
    "--forward",
    required=True,
    metavar="URL",
    help="Where to send each event, such as http://localhost:3000/hook.",
)
@event_option
@over_api
def listen(api: ApiClient, out: Output, *, forward: str, event_types: tuple[str, ...]) -> int:
    """Follow events and forward each, signed, to a URL on this machine.

    For developing a receiver: no endpoint is registered and nothing has to be reachable from outside. The signing
    secret is new each time and shown at the start. A stream that breaks is resumed after the last event; an event that
    the receiver does not take is shown and not sent again. Ctrl-C ends it. With --json a line of JSON for each event.

    \b
    Example:
      medqueue webhooks listen --forward http://localhost:3000/hook --event job.succeeded
    """
    from service.cli.feed import follow
    from service.cli.forwarding import Forwarder

    with Forwarder(forward) as forwarder:
        _line(out, {"forward": forward, "secret": forwarder.secret}, f"signed with {forwarder.secret}")
        for message in follow(partial(api.follow, event_types), note=out.note):
            outcome = forwarder.send(message)
            told = {
                "id": message.id,
                "event": message.event,
                "job_id": outcome.job_id,
                "status": outcome.status,
            }
            words = f"{message.event}  {outcome.job_id or message.id}  {outcome.status or outcome.error}"
            _line(out, told | {"error": outcome.error}, words)
    return ExitCode.OK


def _tell(out: Output, document: Json) -> ExitCode:
    from service.cli import tables

    out.show(document, lambda: tables.fields(document.items()))
    return ExitCode.OK


def _line(out: Output, document: Json, words: str) -> None:
    """One of many lines, as JSON or in words."""
    from service.cli import tables

    if out.as_json:
        click.echo(json.dumps(document))
    else:
        out.print(tables.text(words))
