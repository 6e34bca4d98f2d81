"""Answers of the service as a reader sees them. Everything becomes plain text first: nothing can steer a terminal."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from service.cli.client import Json
from service.cli.output import printable

NOTHING = "-"
REFUSED = "refused"
STYLES = {
    "succeeded": "green",
    "completed": "green",
    "ok": "green",
    "failed": "red",
    "fail": "red",
    "quarantined": "red",
    "behind": "red",
    REFUSED: "red",
    "running": "cyan",
    "pausing": "yellow",
    "paused": "yellow",
    "canceled": "yellow",
    "expired": "yellow",
    "delivered": "green",
    "enabled": "green",
    "disabled": "yellow",
    "dead": "red",
    "warn": "yellow",
}
FEW = 6  # of a long list, shown before "and N more"


class Plain:
    """A table with lines on a terminal, and as bare columns elsewhere."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if not console.is_terminal:
            self._table.box, self._table.pad_edge, self._table.padding = None, False, (0, 2, 0, 0)
        yield self._table


def text(words: object, style: str = "") -> Text:
    """Words as text without markup or control characters."""
    return Text(printable(str(words)), style=style)


def listing(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> RenderableType:
    """A table with a heading; `empty` in words where there are no rows. Ids are never wrapped."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=column == "ID", overflow="fold")
    for row in rows:
        table.add_row(*map(cell, row))
    return Plain(table) if table.row_count else text(empty)


def fields(pairs: Iterable[tuple[str, object]]) -> RenderableType:
    """Names and values, one pair a line; values of None are left out."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs:
        if value is not None:
            table.add_row(text(name), cell(value))
    return table


def cell(value: object) -> Text:
    """One value in a table."""
    words = cell_text(value)
    return text(words, STYLES.get(words, ""))


def cell_text(value: object) -> str:
    """A JSON value in words."""
    if value is None or (isinstance(value, str | Mapping | list | tuple) and not value):
        return NOTHING
    match value:
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.6g}"
        case Mapping():
            return ", ".join(f"{name} {cell_text(part)}" for name, part in value.items())
        case list() | tuple():
            more = f" and {len(value) - FEW} more" if len(value) > FEW else ""
            return ", ".join(cell_text(part) for part in value[:FEW]) + more
        case _:
            return str(value)


def jobs(items: Sequence[Json]) -> RenderableType:
    """A list of jobs."""
    return listing(
        ("ID", "STATE", "MODEL", "PRIORITY", "CREATED", "TOOK", "ATTEMPT"),
        (
            (
                job["id"],
                job["state"],
                f"{job['model']}@{job['model_version']}",
                job["priority"],
                moment(job["created_at"]),
                took(job),
                job["attempt"],
            )
            for job in items
        ),
        empty="No jobs.",
    )


def artifacts(items: Sequence[Json]) -> RenderableType:
    """The files of a result."""
    return listing(
        ("NAME", "TYPE", "BYTES", "SHA-256"),
        ((each["name"], each["media_type"], each["size_bytes"], each["sha256"]) for each in items),
        empty="No artifacts.",
    )


def problem(found: Json) -> str:
    """A problem in one line: its code, what to change, and the fields."""
    errors = found.get("errors") or []
    named = " ".join(error["detail"] for error in errors[:FEW])
    more = f" And {len(errors) - FEW} more fields." if len(errors) > FEW else ""
    return f"{found['code']}: {named or found.get('detail', '')}{more}"


def events(items: Sequence[Json]) -> RenderableType:
    """An audit trail."""
    return listing(
        ("TIME", "ACTION", "ACTOR", "DETAIL"),
        (
            (
                moment(event["occurred_at"], precise=True),
                event["action"],
                event["actor"],
                event["detail"] or event["object"],
            )
            for event in items
        ),
        empty="No events.",
    )


def endpoints(items: Sequence[Json]) -> RenderableType:
    """Webhook endpoints."""
    return listing(
        ("ID", "STATE", "URL", "EVENTS", "FAILURES", "DESCRIPTION"),
        (
            (
                endpoint["id"],
                endpoint["state"],
                endpoint["url"],
                endpoint["event_types"],
                endpoint["failures"],
                endpoint["disabled_because"] or endpoint["description"],
            )
            for endpoint in items
        ),
        empty="No webhook endpoints. `medqueue webhooks create URL --event TYPE` registers one.",
    )


def deliveries(items: Sequence[Json]) -> RenderableType:
    """Webhook deliveries."""
    return listing(
        ("ID", "STATE", "EVENT", "JOB", "TRIES", "CREATED", "NEXT TRY"),
        (
            (
                delivery["id"],
                delivery["state"],
                delivery["event_type"],
                delivery["job_id"],
                delivery["tries"],
                moment(delivery["created_at"]),
                moment(delivery["next_try_at"]),
            )
            for delivery in items
        ),
        empty="No deliveries.",
    )


def models(items: Sequence[Json]) -> RenderableType:
    """The catalogue."""
    return listing(
        ("NAME", "VERSION", "KIND", "TASK", "TITLE"),
        ((model["name"], model["version"], model["kind"], model["task"], _titled(model)) for model in items),
        empty="No models are published. `medqueue models publish FOLDER` publishes one.",
    )


def _titled(found: Json) -> str:
    return f"(cannot be used) {found['title']}" if found.get("problem") else str(found["title"])


def tenants(items: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Tenants, their weights and what is granted to them."""
    return listing(
        ("ID", "NAME", "WEIGHT", "CREATED", "ROOTS", "NETWORKS"),
        (
            (
                tenant["id"],
                tenant["name"],
                tenant["weight"],
                moment(tenant["created_at"]),
                ", ".join(f"{root['root']} ({root['access']})" for root in tenant["roots"]),
                ", ".join(tenant["networks"]),
            )
            for tenant in items
        ),
        empty="No tenants.",
    )


def keys(items: Sequence[Mapping[str, Any]]) -> RenderableType:
    """API keys."""
    return listing(
        ("ID", "NAME", "TENANT", "SCOPES", "CREATED", "EXPIRES", "REVOKED"),
        (
            (
                key["id"],
                key["name"],
                key["tenant"],
                key["scopes"],
                *(moment(key[name]) for name in ("created_at", "expires_at", "revoked_at")),
            )
            for key in items
        ),
        empty="No keys.",
    )


def faults(items: Sequence[Mapping[str, str]]) -> RenderableType:
    """Why a bundle would be refused."""
    return listing(
        ("PLACE", "CODE", "WHAT TO CHANGE"),
        ((fault["place"], fault["code"], fault["detail"]) for fault in items),
        empty="No faults.",
    )


def moment(stamp: str | None, *, precise: bool = False) -> str:
    """A time in UTC, to the second or to the millisecond."""
    if stamp is None:
        return NOTHING
    written = (
        datetime.fromisoformat(stamp).astimezone(UTC).isoformat(" ", "milliseconds" if precise else "seconds")
    )
    return written.replace("+00:00", "Z")


def took(job: Json) -> str:
    """From submission to end."""
    if job.get("finished_at") is None:
        return NOTHING
    ended, created = (datetime.fromisoformat(job[name]) for name in ("finished_at", "created_at"))
    return seconds((ended - created).total_seconds())


def seconds(duration_s: float) -> str:
    """A duration in the unit that suits it."""
    if duration_s < 1:
        return f"{duration_s * 1000:.0f} ms"
    return f"{duration_s:.1f} s" if duration_s < 120 else f"{duration_s / 60:.0f} min"
