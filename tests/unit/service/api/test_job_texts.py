"""What a reader of a job's text is told: each piece once, in order, and when what it has is void."""

import json
import re
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.jobs.texts import ENDED, Seen, news
from service.errors import HeaderInvalid
from service.jobs.partial_texts import Progress
from service.lifecycle import ENDED_STATES, JobState

EVENT = re.compile("id: (.+)\nevent: (.+)\ndata: (.+)\n\n")
PROGRESS = st.builds(
    Progress,
    state=st.sampled_from(JobState),
    fence=st.integers(1, 3),
    abstained=st.booleans(),
    model_version_id=st.just(uuid4()),
    text=st.text("ab\n\u00e9\U0001f600", max_size=5),
)


def progress(text: str, *, fence: int = 1, state: JobState = JobState.RUNNING) -> Progress:
    return Progress(state, fence, abstained=False, model_version_id=uuid4(), text=text)


def events(seen: Seen, found: Progress) -> list[tuple[str, object]]:
    return [(event, json.loads(data)) for _, event, data in EVENT.findall(news(seen, found)[1])]


def test_a_reader_gets_what_was_added_and_nothing_twice() -> None:
    seen, _ = news(Seen(), progress("no fever"))
    assert events(seen, progress("no fever")) == []
    assert events(seen, progress("no fever, no cough")) == [("text.appended", {"text": ", no cough"})]


@pytest.mark.parametrize(
    "later",
    [
        progress("no fever at all", fence=2),
        progress("", fence=1, state=JobState.QUEUED),
        progress("no pain at all"),
        progress("", state=JobState.CANCELED),
    ],
)
def test_what_a_reader_has_of_another_text_is_void(later: Progress) -> None:
    seen, _ = news(Seen(), progress("no fever"))
    assert events(seen, later)[0] == ("text.discarded", {})
    assert events(Seen(), later)[:1] != [("text.discarded", {})]


def test_the_end_is_told_with_the_rest_of_the_text() -> None:
    seen, _ = news(Seen(), progress("no fever"))
    assert events(seen, progress("no fever.", state=JobState.SUCCEEDED)) == [
        ("text.appended", {"text": "."}),
        ("job.succeeded", {"state": "succeeded", "abstained": False}),
    ]


@given(st.lists(st.tuples(PROGRESS, st.booleans()), max_size=6))
def test_what_a_reader_has_is_always_the_text_however_often_it_comes_back(
    course: list[tuple[Progress, bool]],
) -> None:
    seen, has, last = Seen(), "", None
    for found, comes_back in course:
        if comes_back:
            seen = Seen() if last in {None, ENDED} else Seen.read(last)
            has = "" if last in {None, ENDED} else has
        seen, told = news(seen, found)
        for place, event, data in EVENT.findall(told):
            last = place
            has = "" if event == "text.discarded" else has + json.loads(data).get("text", "")
        assert has == found.text
        assert (last == ENDED) is (found.state in ENDED_STATES) or last != ENDED or not told


@pytest.mark.parametrize("place", ["", "1-2", "1-2-3", "a-2-00000000", "1-2-0000000G", "1-2-00000000 "])
def test_a_place_that_no_stream_gave_is_refused(place: str) -> None:
    with pytest.raises(HeaderInvalid):
        Seen.read(place)
