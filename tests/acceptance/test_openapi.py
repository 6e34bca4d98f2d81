"""Schemathesis drives every operation of /openapi.json with good and bad requests that it makes from the document.

It runs as its command line, in a process of its own: what it generates then does not depend on which tests run.
"""

import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.acceptance.stack import Stack

SEED = 20261122
EXAMPLES, MORE_EXAMPLES = 10, 25  # of one operation and phase; more with `--faults full`
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")


def configured(examples: int) -> str:
    """The configuration of Schemathesis.

    What the document cannot say: which inputs a model takes, which cursors a list has made, where receivers and files may
    be, and that one time lies before another. So good data may be refused there. And a bulk request answers 200
    with a problem for each case that is refused.
    """
    return f"""\
seed = {SEED}
continue-on-failure = true
request-timeout = 60.0

[generation]
max-examples = {examples}
database = "none"
no-shrink = true

[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", "400", "404"]

[[operations]]
include-path = "/v1/jobs"
include-method = "POST"
checks.positive_data_acceptance.expected-statuses = ["2xx", "3xx", "400", "404", "422"]

[[operations]]
include-path-regex = "^/v1/webhook-endpoints"
checks.positive_data_acceptance.expected-statuses = ["2xx", "3xx", "400", "404", "409", "422"]

[[operations]]
include-path-regex = "^/v1/batch"
checks.positive_data_acceptance.expected-statuses = ["2xx", "3xx", "400", "404", "409", "416", "422"]

[[operations]]
include-path = "/v1/events"
parameters = {{ Prefer = "wait=0" }}

[[operations]]
include-path = "/v1/jobs/bulk"
checks.negative_data_rejection.expected-statuses = ["200", "400", "401", "405", "413", "415", "422"]
"""


@pytest.fixture(scope="module")
def key(stack: Stack) -> str:
    """The key of a tenant of its own, with all scopes."""
    return stack.new_key("schemathesis")


@pytest.mark.timeout(300)
def test_the_service_does_what_its_document_says(stack: Stack, key: str, tmp_path: Path, full: bool) -> None:
    """No 5xx; statuses, types, headers and bodies as documented; bad data refused; keys and methods checked."""
    configuration = tmp_path / "schemathesis.toml"
    configuration.write_text(configured(MORE_EXAMPLES if full else EXAMPLES))
    command = [
        str(SCHEMATHESIS), "--config-file", str(configuration), "run", f"{stack.url}/openapi.json",
        "--header", f"Authorization: Bearer {key}", "--checks", "all", "--no-color",
    ]  # fmt: skip
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path, timeout=240)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
    assert " 0 generated" not in done.stdout


ANOTHERS = {"upload_not_found", "after_unsuitable"}
UNBUNDLED = "chained result"  # the example whose model is not bundled: no bundled model takes parts


def test_each_example_of_a_submit_does_what_it_shows(stack: Stack, key: str) -> None:
    """But for the upload and the jobs it names, which are another's, and for the one model that is not bundled."""
    with stack.client(key) as http:
        paths = http.get("/openapi.json").json()["paths"]
        for path in ("/v1/jobs", "/v1/jobs/bulk"):
            shown = paths[path]["post"]["requestBody"]["content"]["application/json"]["examples"]
            assert shown
            for name, example in shown.items():
                answer = http.post(path, json=example["value"])
                refusals = {"model_not_found"} if name == UNBUNDLED else ANOTHERS
                assert answer.status_code in {200, 202} or answer.json()["code"] in refusals, name


def test_the_page_to_try_it_needs_nothing_from_elsewhere(stack: Stack) -> None:
    with httpx.Client(base_url=stack.url) as browser:
        page = browser.get("/docs/")
        assert page.headers["content-type"].startswith("text/html")
        assert "/openapi.json" in page.text
        fetched = re.findall(r"""(?:src|href)=["']([^"']+)""", page.text)
        assert fetched
        for address in fetched:
            assert "//" not in address
            assert browser.get(page.url.join(address)).status_code == 200, address


def test_the_document_is_the_same_for_everyone_and_each_time(stack: Stack, http: httpx.Client) -> None:
    with httpx.Client(base_url=stack.url) as nobody:
        assert nobody.get("/openapi.json").content == http.get("/openapi.json").content
