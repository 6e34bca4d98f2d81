"""A client of the API over HTTP. Answers stay JSON documents, because a newer service may return additional fields."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote

import click
import httpx

from models.field_codes import OtherCode
from service.cli.bodies import json_bytes
from service.cli.errors import AnswerLost, ApiProblem, Unreachable
from service.cli.output import printable
from service.cli.target import Target
from service.errors import FieldError

Json = dict[str, Any]

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 10.0
WORK_TIMEOUT_S = (
    60.0  # where the service checks many inputs or a source, stores a file, or sends a file or a stream
)
PAGE_LIMIT = 200
MAX_FIELDS = 100
DIGEST = re.compile(r'"([0-9a-f]{64})"')  # the entity tag of a file of the service


@dataclass(frozen=True)
class FilePart:
    """A part of a file as it is sent, from `start` to the file's end. `etag` is what this version of it is called."""

    start: int
    etag: str | None
    blocks: Iterator[bytes]


class ApiClient:
    """A connection to one API with one key. Every call raises ApiProblem, Unreachable or AnswerLost."""

    def __init__(self, target: Target, transport: httpx.BaseTransport | None = None) -> None:
        self._shown_url = shown_url(target.url)
        if not _is_address(target.url):
            raise self._no_address()
        headers = {"User-Agent": "medqueue-cli"}
        if target.key:
            headers["Authorization"] = f"Bearer {target.key}"
        self._http = httpx.Client(
            base_url=target.url,
            headers=headers,
            timeout=_timeout(ANSWER_TIMEOUT_S),
            transport=transport,
            trust_env=not target.local,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def job(self, job_id: str, *, wait_s: float = 0) -> Json:
        """A job with its result; held back up to `wait_s` until it has ended."""
        return self._call("GET", f"/v1/jobs/{job_id}", wait_s=wait_s)

    def jobs(self, filters: Json, limit: int) -> list[Json]:
        """Up to `limit` jobs, newest first."""
        return self._pages("/v1/jobs", filters, limit)

    def events(self, job_id: str) -> list[Json]:
        """The whole trail of a job, oldest first."""
        return self._pages(f"/v1/jobs/{job_id}/events", {}, None)

    def delay(self, job_id: str) -> Json:
        """Why a job has not started."""
        return self._call("GET", f"/v1/jobs/{job_id}/delay")

    def cancel(self, job_id: str) -> Json:
        """Cancel a job; returns the job."""
        return self._call("POST", f"/v1/jobs/{job_id}/cancel")

    def submit(self, case: Json, idempotency_key: str | None = None) -> Json:
        """Submit one case; the job that was accepted."""
        return self._call("POST", "/v1/jobs", body=case, idempotency_key=idempotency_key)

    def submit_bulk(self, cases: list[Json], idempotency_key: str | None = None) -> list[Json]:
        """Submit up to 1,000 cases; for each, in order, its job or its problem."""
        answer = self._call(
            "POST",
            "/v1/jobs/bulk",
            body={"jobs": cases},
            idempotency_key=idempotency_key,
            silence_s=WORK_TIMEOUT_S,
        )
        items: list[Json] = answer["items"]
        return items

    def upload(self, content: Iterable[bytes]) -> str:
        """Stream a file into the service's store; the id of the upload."""
        headers = {"Content-Type": "application/octet-stream"}
        response = self._send(
            "POST", "/v1/uploads", content=content, headers=headers, silence_s=WORK_TIMEOUT_S
        )
        return str(self._answer(response)["id"])

    def models(self) -> list[Json]:
        """The catalogue."""
        return self._pages("/v1/models", {}, None)

    def model(self, reference: str) -> Json:
        """A model as `name`, `name@alias` or `name@version` means it now. Raises click.UsageError too."""
        if reference in {"", ".", ".."}:  # the path of something else
            raise click.UsageError("A model is NAME, NAME@ALIAS or NAME@VERSION.")
        return self._call("GET", f"/v1/models/{quote(reference, safe='@')}")

    def submit_batch(self, batch: Json, idempotency_key: str) -> Json:
        """Submit a batch; the batch that was accepted."""
        return self._call(
            "POST", "/v1/batches", body=batch, idempotency_key=idempotency_key, silence_s=WORK_TIMEOUT_S
        )

    def batches(self, filters: Json, limit: int | None) -> list[Json]:
        """Up to `limit` batches, newest first; all without one."""
        return self._pages("/v1/batches", filters, limit)

    def batch(self, batch_id: str) -> Json:
        """A batch in its present state."""
        return self._call("GET", f"/v1/batches/{batch_id}")

    def batch_events(self, batch_id: str) -> list[Json]:
        """The whole trail of a batch, oldest first."""
        return self._pages(f"/v1/batches/{batch_id}/events", {}, None)

    def control_batch(
        self, batch_id: str, verb: str, idempotency_key: str | None = None, body: Json | None = None
    ) -> Json:
        """Pause, resume, cancel or rerun a batch; returns the batch, or the new one of a rerun."""
        path, silence_s = f"/v1/batches/{batch_id}/{verb}", WORK_TIMEOUT_S
        return self._call("POST", path, body=body, idempotency_key=idempotency_key, silence_s=silence_s)

    def digest_of(self, path: str) -> tuple[int | None, str | None]:
        """Length and SHA-256 of a file, which is not read; unknown where the service refuses, as it will say why on reading."""
        response = self._send("HEAD", path, headers={"Accept-Encoding": "identity"})
        tag = DIGEST.fullmatch(response.headers.get("ETag", ""))
        if not response.is_success or tag is None:
            return None, None
        return int(response.headers["Content-Length"]), tag[1]

    @contextmanager
    def file(
        self, path: str, *, partial: bool = False, start: int = 0, etag: str | None = None
    ) -> Iterator[FilePart]:
        """A file of the service from byte `start` on; from 0 when it is not `etag` any more."""
        params, headers = {"partial": "true"} if partial else {}, {"Accept-Encoding": "identity"}
        if start and etag is not None:
            headers |= {"Range": f"bytes={start}-", "If-Range": etag}
        timeout = _timeout(WORK_TIMEOUT_S)
        with self._reaching(WORK_TIMEOUT_S), self._http.stream(
            "GET", path, params=params, headers=headers, timeout=timeout
        ) as response:  # fmt: skip
            if not response.is_success:
                response.read()
                self._answer(response)
            sent_from = start if response.status_code == httpx.codes.PARTIAL_CONTENT else 0
            yield FilePart(sent_from, response.headers.get("ETag"), response.iter_raw())

    def schedules(self) -> list[Json]:
        """All schedules of batches, newest first."""
        return self._pages("/v1/batch-schedules", {}, None)

    def schedule(self, schedule_id: str) -> Json:
        """A schedule of batches."""
        return self._call("GET", f"/v1/batch-schedules/{schedule_id}")

    def create_schedule(self, schedule: Json) -> Json:
        """Create a schedule."""
        return self._call("POST", "/v1/batch-schedules", body=schedule, silence_s=WORK_TIMEOUT_S)

    def control_schedule(self, schedule_id: str, verb: str) -> Json:
        """Pause or resume a schedule; returns the schedule."""
        return self._call("POST", f"/v1/batch-schedules/{schedule_id}/{verb}")

    def delete_schedule(self, schedule_id: str) -> None:
        """Open no more batches by a schedule."""
        self._delete(f"/v1/batch-schedules/{schedule_id}")

    def endpoints(self) -> list[Json]:
        """All webhook endpoints, newest first."""
        return self._pages("/v1/webhook-endpoints", {}, None)

    def create_endpoint(self, url: str, event_types: list[str], description: str) -> Json:
        """Register a webhook endpoint; with its secret."""
        body = {"url": url, "event_types": event_types, "description": description}
        return self._call("POST", "/v1/webhook-endpoints", body=body)

    def delete_endpoint(self, endpoint_id: str) -> None:
        """Delete a webhook endpoint."""
        self._delete(f"/v1/webhook-endpoints/{endpoint_id}")

    def rotate_secret(self, endpoint_id: str) -> Json:
        """A new signing secret of an endpoint."""
        return self._call("POST", f"/v1/webhook-endpoints/{endpoint_id}/rotate-secret")

    def ping(self, endpoint_id: str) -> Json:
        """Send a test event to an endpoint; the id of its delivery."""
        return self._call("POST", f"/v1/webhook-endpoints/{endpoint_id}/ping")

    def deliveries(self, filters: Json, limit: int) -> list[Json]:
        """Up to `limit` webhook deliveries, newest first."""
        return self._pages("/v1/webhook-deliveries", filters, limit)

    def delivery(self, delivery_id: str) -> Json:
        """A webhook delivery with its tries."""
        return self._call("GET", f"/v1/webhook-deliveries/{delivery_id}")

    def replay(self, delivery_id: str) -> Json:
        """Send a delivery again."""
        return self._call("POST", f"/v1/webhook-deliveries/{delivery_id}/replay")

    def replay_range(self, endpoint_id: str, wanted: Json) -> Json:
        """Send an endpoint's deliveries of a time range again; how many."""
        path = f"/v1/webhook-endpoints/{endpoint_id}/replay"
        return self._call("POST", path, body=wanted, silence_s=WORK_TIMEOUT_S)

    @contextmanager
    def follow(self, event_types: Sequence[str], last_id: str | None) -> Iterator[Iterator[str]]:
        """The lines of the feed of events, from behind `last_id`, until the service ends the stream."""
        params = {"types": ",".join(event_types)} if event_types else {}
        with self._stream("/v1/events", params, last_id) as lines:
            yield lines

    @contextmanager
    def follow_text(self, job_id: str, last_id: str | None) -> Iterator[Iterator[str]]:
        """The same of the stream of a job's text."""
        with self._stream(f"/v1/jobs/{job_id}/text", {}, last_id) as lines:
            yield lines

    def probe(self, path: str) -> tuple[int, Json]:
        """Status and content of a probe such as /readyz, whatever the status."""
        response = self._send("GET", path)
        return response.status_code, self._content(response)

    @contextmanager
    def _stream(self, path: str, params: Json, last_id: str | None) -> Iterator[Iterator[str]]:
        headers = {} if last_id is None else {"Last-Event-ID": last_id}
        timeout = _timeout(WORK_TIMEOUT_S)
        with self._reaching(WORK_TIMEOUT_S), self._http.stream(
            "GET", path, params=params, headers=headers, timeout=timeout
        ) as response:  # fmt: skip
            if not response.is_success:
                response.read()
                raise _problem(response)
            yield response.iter_lines()

    def _pages(self, path: str, params: Json, limit: int | None) -> list[Json]:
        """Items of a list, page by page, up to `limit`; all without one."""
        items: list[Json] = []
        cursor: Json = {}
        while limit is None or len(items) < limit:
            size = PAGE_LIMIT if limit is None else min(PAGE_LIMIT, limit - len(items))
            paging = {} if path == "/v1/models" else {"limit": size}
            page = self._call("GET", path, params={**params, **paging, **cursor})
            found, following = page.get("items"), page.get("next_cursor")
            if not isinstance(found, list):
                raise self._no_service()
            items += found
            if following is None:
                break
            cursor = {"cursor": following}
        return items

    def _call(
        self,
        method: str,
        path: str,
        *,
        params: Json | None = None,
        body: Json | None = None,
        wait_s: float = 0,
        idempotency_key: str | None = None,
        silence_s: float = ANSWER_TIMEOUT_S,
    ) -> Json:
        headers, content = {}, None
        if body is not None:
            headers["Content-Type"] = "application/json"
            with self._reaching():
                content = json_bytes(body)
        if wait_s >= 1:
            headers["Prefer"] = f"wait={int(wait_s)}"
            silence_s += wait_s
        if idempotency_key is not None:
            headers["Idempotency-Key"] = idempotency_key
        return self._answer(
            self._send(method, path, params=params, content=content, headers=headers, silence_s=silence_s)
        )

    def _delete(self, path: str) -> None:
        response = self._send("DELETE", path)
        if not response.is_success:
            raise _problem(response)

    def _send(
        self, method: str, path: str, *, silence_s: float = ANSWER_TIMEOUT_S, **request: Any
    ) -> httpx.Response:
        with self._reaching(silence_s):
            return self._http.request(method, path, timeout=_timeout(silence_s), **request)

    @contextmanager
    def _reaching(self, silence_s: float = ANSWER_TIMEOUT_S) -> Iterator[None]:
        """Turns what can go wrong on the way, such as a silence of `silence_s`, into errors of the command line."""
        try:
            yield
        except (httpx.UnsupportedProtocol, httpx.InvalidURL):
            raise self._no_address() from None
        except UnicodeEncodeError:  # what stands on a command line in another encoding
            raise click.UsageError("A text of the command line is not UTF-8.") from None
        except httpx.LocalProtocolError:
            raise click.UsageError("A text of the command line holds what cannot be sent.") from None
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError):
            raise Unreachable(f"{self._shown_url} does not answer. Is the service running there?") from None
        except (httpx.ReadTimeout, httpx.WriteTimeout):
            raise AnswerLost(
                f"{self._shown_url} accepted the connection and was silent for {silence_s:g} s. "
                "Is the service running there, or overloaded?"
            ) from None
        except httpx.TransportError as error:
            raise AnswerLost(
                f"The connection to {self._shown_url} broke before the answer came ({type(error).__name__})."
            ) from None

    def _no_address(self) -> Unreachable:
        return Unreachable(
            f"{printable(self._shown_url)} is not the address of a service: it starts with http://."
        )

    def _no_service(self) -> Unreachable:
        return Unreachable(f"What answers on {self._shown_url} is not medqueue. Check the address.")

    def _answer(self, response: httpx.Response) -> Json:
        if response.is_success:
            return self._content(response)
        if response.is_redirect:
            raise Unreachable(f"{self._shown_url} redirects elsewhere. Give the service's own address.")
        raise _problem(response)

    def _content(self, response: httpx.Response) -> Json:
        try:
            content = response.json()
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise self._no_service()
        return content


def _timeout(silence_s: float) -> httpx.Timeout:
    """The limits of one request: how long connecting may take, and how long no byte may flow."""
    return httpx.Timeout(silence_s, connect=CONNECT_TIMEOUT_S)


def _is_address(url: str) -> bool:
    """Whether a service may be there: http or https, and a host."""
    try:
        parsed = httpx.URL(url)
        return parsed.scheme in {"http", "https"} and bool(parsed.host) and (parsed.port or 1) < 65_536
    except (httpx.InvalidURL, ValueError):  # ValueError: it holds what is no text
        return False


def shown_url(url: str) -> str:
    """An address without the user and password that it may hold."""
    scheme, mark, rest = url.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}"


def _problem(response: httpx.Response) -> ApiProblem:
    """The problem document of a refusal, or as much as a server in between said."""
    try:
        content = response.json()
    except ValueError:
        content = None
    if not isinstance(content, dict) or not isinstance(content.get("code"), str):
        return ApiProblem(response.status_code, f"http_{response.status_code}", response.reason_phrase)
    errors = content.get("errors") or []
    return ApiProblem(
        response.status_code,
        content["code"],
        str(content.get("detail", "")),
        tuple(
            FieldError(error["pointer"], OtherCode(error["code"]), error["detail"])
            for error in errors[:MAX_FIELDS]
        ),
        request_id=response.headers.get("X-Request-Id", ""),
    )
