"""A job that nobody answers in the time its model promises: recorded by the scheduler, and scored all the same."""

import re
import shutil
from pathlib import Path

import httpx

from tests.acceptance import cases
from tests.acceptance.calls import actions, ended, submit
from tests.acceptance.stack import Stack, eventually


def hasty_bundle(folder: Path) -> Path:
    """The tabular model under another name, with a promise that is soon broken."""
    shutil.copytree(cases.ZOO / cases.BREAST_CANCER, folder)
    path = folder / "manifest.toml"
    text = re.sub(r"(?m)^name = .*$", 'name = "hasty"', path.read_text(), count=1)
    path.write_text(re.sub(r"(?m)^promised_s = .*$", "promised_s = 0.25", text))
    return folder


def test_a_broken_promise_is_recorded_once_and_the_job_goes_on(
    rough_stack: Stack, rough_http: httpx.Client, tmp_path: Path
) -> None:
    rough_stack.publish(hasty_bundle(tmp_path / "hasty"))
    with rough_stack.workers_paused():
        job_id = submit(rough_http, model="hasty")["id"]
        tag = rough_http.get(f"/v1/jobs/{job_id}").headers["etag"]
        eventually(lambda: "job.overdue" in actions(rough_http, job_id), within_s=20)
        again = rough_http.get(f"/v1/jobs/{job_id}", headers={"If-None-Match": tag})
        assert again.status_code == 304
    assert ended(rough_http, job_id)["state"] == "succeeded"
    trail = [action for action in actions(rough_http, job_id) if action.startswith("job.")]
    assert trail == ["job.submitted", "job.overdue", "job.claimed", "job.succeeded"]
