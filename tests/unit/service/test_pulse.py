"""What a health check makes of a pulse that was written down."""

from pathlib import Path

import pytest

from service.pulse import Pulse

NOW_S = 1000.0
PATIENCE_S = 30.0


def pulse(
    *,
    age_s: float = 1.0,
    waited_s: float | None = None,
    busy: bool = False,
    redis_away: bool = False,
) -> Pulse:
    since = None if waited_s is None else NOW_S - waited_s
    return Pulse(NOW_S - age_s, since, busy, redis_away)


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        (pulse(), None),
        (pulse(waited_s=30), None),
        (pulse(waited_s=31), "takes no messages"),
        (pulse(waited_s=31, busy=True), None),
        (pulse(waited_s=31, redis_away=True), None),
        (pulse(waited_s=-10), None),
        (pulse(age_s=30), None),
        (pulse(age_s=31), "it is dead or hangs"),
        (pulse(age_s=31, busy=True, redis_away=True), "it is dead or hangs"),
        (pulse(age_s=-1), "it is dead or hangs"),
    ],
)
def test_a_process_is_well_unless_it_stands_still_or_lets_messages_wait(
    written: Pulse, fault: str | None
) -> None:
    found = written.fault(NOW_S, patience_s=PATIENCE_S)
    assert found is None if fault is None else fault in str(found)


def test_a_pulse_is_read_as_it_was_written(tmp_path: Path) -> None:
    for written in (pulse(), pulse(waited_s=3, busy=True, redis_away=True)):
        written.write(tmp_path / "w.pulse")
        assert Pulse.read(tmp_path / "w.pulse") == written
    assert [path.name for path in tmp_path.iterdir()] == ["w.pulse"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"busy": true}', '{"more": 1}'])
def test_a_file_that_holds_no_pulse_is_none(tmp_path: Path, content: str) -> None:
    assert Pulse.read(tmp_path / "w.pulse") is None
    (tmp_path / "w.pulse").write_text(content)
    assert Pulse.read(tmp_path / "w.pulse") is None
