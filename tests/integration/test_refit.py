"""`medqueue models refit` on a real catalogue: a candidate beside the stable version, or an exit code and nothing."""

from pathlib import Path

import pytest

from service.catalog import Catalog
from service.db import Database
from tests import factories
from tests.integration.operating import Run, actors
from tests.unit.service.refitting.ward import as_lines, as_table, ward

NAME = factories.BREAST_CANCER


@pytest.fixture
def published(medqueue: Run) -> str:
    """The version of the published parent."""
    code, bundle, _ = medqueue("models", "publish", str(factories.ZOO / NAME))
    assert code == 0
    return str(bundle["version"])


def test_a_refit_is_a_candidate_and_stable_stays(
    medqueue: Run, published: str, database: Database, tmp_path: Path
) -> None:
    data = as_table(tmp_path / "ward.csv", ward())
    told = ("--data", str(data), "--label", "is", "--value", "M=malignant", "--value", "B=benign")
    words = (*told, "--group", "patient")
    code, made, _ = medqueue("models", "refit", NAME, *words, "--out", str(tmp_path / "one"))
    assert (code, made["alias"], made["parent"]["version"]) == (0, "candidate", published)
    assert made["rows"]["rows"] == 600
    catalog = Catalog(database, cache_s=0)
    assert catalog.resolve(f"{NAME}@candidate").digest == made["digest"]
    assert catalog.resolve(NAME).version == published
    assert len(actors(database, "model.promoted")) == 2
    again = (f"{NAME}@candidate", *words, "--seed", "1", "--out", str(tmp_path / "two"))
    code, second, _ = medqueue("models", "refit", *again)
    assert (code, second["parent"]["version"]) == (0, made["version"])
    assert catalog.aliases_of(NAME) == {"candidate": second["version"], "stable": published}


def test_what_cannot_be_refitted_publishes_nothing(
    medqueue: Run, published: str, database: Database, tmp_path: Path
) -> None:
    data = str(as_lines(tmp_path / "ward.ndjson", ward(60)))
    out = ("--out", str(tmp_path / "refit"))
    assert medqueue("models", "refit", "no-such-model", "--data", data, *out)[0] == 4
    code, _, stderr = medqueue("models", "refit", NAME, "--data", data, *out)
    assert (code, "50 rows or more are needed" in stderr) == (2, True)
    assert medqueue("models", "refit", NAME, "--data", data, *out, "--version", published)[0] == 2
    for version, why in (("0.9.0", "is not above"), ("next", "is no version such as")):
        code, _, stderr = medqueue("models", "refit", NAME, "--data", data, *out, "--version", version)
        assert (code, why in stderr) == (2, True)
    (tmp_path / "refit").mkdir()
    more = str(as_lines(tmp_path / "more.ndjson", ward()))
    code, _, stderr = medqueue("models", "refit", NAME, "--data", more, *out)
    assert (code, "is there already" in stderr) == (2, True)
    exchanged = ("--value", "malignant=benign", "--value", "benign=malignant")
    words = ("--data", more, *exchanged, "--out", str(tmp_path / "other"))
    code, document, _ = medqueue("models", "refit", NAME, *words)
    assert (code, document["faults"][0]["code"]) == (1, "refit_contradicts")
    assert Catalog(database, cache_s=0).aliases_of(NAME) == {"stable": published}
