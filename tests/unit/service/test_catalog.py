"""References to models, and bundles fetched from the blob store. Publishing: integration."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from models.bundle import Bundle, bundled, read_bundle
from models.field_codes import FieldCode
from models.pipelines import FieldFault
from service.api.http.schemas import Reference
from service.catalog import ALIAS, DEFAULT_ALIAS, REFERENCE, PublishedModel, field_errors
from service.catalog.bundles import fetch
from service.errors import BlobUnavailable, BundleUnusable, InputInvalid, ModelUnavailable
from tests import factories
from tests.fakes import MemoryBlobStore


def model_of(bundle: Bundle) -> PublishedModel:
    return PublishedModel(
        UUID(int=1), bundle.manifest, bundle.digest, bundle.card, datetime(2026, 1, 1, tzinfo=UTC)
    )


MODEL = model_of(factories.bundle())


def stored() -> MemoryBlobStore:
    """A blob store with the model's files where publishing puts them."""
    blobs, bundle = MemoryBlobStore(), factories.bundle()
    folder = f"models/{bundle.digest.removeprefix('sha256:')}"
    for name in ("manifest.toml", *bundle.manifest.files):
        blobs.write(f"{folder}/{name}", [(bundle.folder / name).read_bytes()])
    return blobs


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("pneumonia-xray-28", ("pneumonia-xray-28", None)),
        ("pneumonia-xray-28@stable", ("pneumonia-xray-28", "stable")),
        ("pneumonia-xray-28@1.0.0", ("pneumonia-xray-28", "1.0.0")),
        ("a@1.0.0-rc.1+build.5", ("a", "1.0.0-rc.1+build.5")),
        ("a" * 64 + "@" + "b" * 64, ("a" * 64, "b" * 64)),
    ],
)
def test_a_reference_is_a_name_and_perhaps_a_version_or_alias(
    reference: str, parts: tuple[str, str | None]
) -> None:
    shape = REFERENCE.fullmatch(reference)
    assert shape is not None
    assert shape.groups() == parts


@pytest.mark.parametrize(
    "reference",
    ["", "@", "a@", "@stable", "a@b@c", "A", "a b", "a/b", "../a", "a\n", "a@1\n", "ä", "a@ä", "a" * 65, "a@" + "b" * 65],
)  # fmt: skip
def test_anything_else_is_no_reference(reference: str) -> None:
    assert REFERENCE.fullmatch(reference) is None


@given(st.text(alphabet="aZ0-.+@_\n é", max_size=8))
def test_the_api_accepts_the_references_that_the_catalogue_reads(reference: str) -> None:
    try:
        accepted = bool(TypeAdapter(Reference).validate_python(reference))
    except ValidationError:
        accepted = False
    assert accepted == (REFERENCE.fullmatch(reference) is not None)


@given(st.from_regex(ALIAS, fullmatch=True))
def test_an_alias_can_be_referred_to_and_is_never_taken_for_a_version(alias: str) -> None:
    assert REFERENCE.fullmatch(f"a@{alias}")
    assert not alias[0].isdigit()


def test_the_default_alias_is_an_alias() -> None:
    assert ALIAS.fullmatch(DEFAULT_ALIAS)


@pytest.mark.parametrize("folder", bundled(), ids=lambda folder: folder.name)
def test_a_bundled_model_can_be_referred_to(folder: Path) -> None:
    manifest = read_bundle(folder).manifest
    assert REFERENCE.fullmatch(f"{manifest.name}@{manifest.version}")


def test_a_field_of_an_input_is_pointed_to_inside_the_request() -> None:
    (found,) = field_errors([FieldFault("/radius~1mean", FieldCode.OUT_OF_RANGE, "between 1 and 2 mm")])
    assert (found.pointer, found.code, found.detail) == (
        "/input/radius~1mean",
        "out_of_range",
        "between 1 and 2 mm",
    )


def test_an_input_that_does_not_fit_names_its_fields_and_no_value() -> None:
    case = factories.case() | {"mean_radius": 987654.25}
    with pytest.raises(InputInvalid) as caught:
        MODEL.encode(case)
    (error,) = caught.value.errors
    assert (error.pointer, error.code) == ("/input/mean_radius", "out_of_range")
    assert "987654" not in error.detail


def test_a_fetched_bundle_is_the_published_one(tmp_path: Path) -> None:
    bundle = fetch(stored(), MODEL, tmp_path)
    assert bundle.digest == MODEL.digest
    assert bundle.folder.is_relative_to(tmp_path)


def test_a_bundle_is_fetched_once(tmp_path: Path) -> None:
    fetch(stored(), MODEL, tmp_path)
    assert fetch(MemoryBlobStore(), MODEL, tmp_path).digest == MODEL.digest


def test_fetching_leaves_nothing_but_the_bundle(tmp_path: Path) -> None:
    bundle = fetch(stored(), MODEL, tmp_path)
    found = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"manifest.toml", *bundle.manifest.files}


@pytest.mark.parametrize("name", ["model.onnx", "CARD.md", "golden.json"])
def test_a_file_that_changed_in_the_blob_store_is_refused(name: str, tmp_path: Path) -> None:
    blobs = stored()
    place = next(location for location in blobs.blobs if location.endswith(name))
    blobs.blobs[place] += b" "
    with pytest.raises(BundleUnusable, match="damaged"):
        fetch(blobs, MODEL, tmp_path)
    assert read_bundle(fetch(stored(), MODEL, tmp_path).folder).digest == MODEL.digest


def test_a_manifest_that_changed_in_the_blob_store_is_refused(tmp_path: Path) -> None:
    blobs = stored()
    place = next(location for location in blobs.blobs if location.endswith("manifest.toml"))
    blobs.blobs[place] += b"\n"
    with pytest.raises(BundleUnusable, match="differ from what was published"):
        fetch(blobs, MODEL, tmp_path)


def test_a_file_that_changed_in_the_cache_is_refused(tmp_path: Path) -> None:
    path = fetch(stored(), MODEL, tmp_path).model_path
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BundleUnusable, match=r"model cache"):
        fetch(stored(), MODEL, tmp_path)


def test_a_manifest_that_is_not_readable_any_more_is_refused(tmp_path: Path) -> None:
    path = fetch(stored(), MODEL, tmp_path).folder / "manifest.toml"
    path.write_text("name =")
    with pytest.raises(BundleUnusable):
        fetch(stored(), MODEL, tmp_path)


def test_files_missing_from_the_blob_store_make_a_bundle_unusable(tmp_path: Path) -> None:
    with pytest.raises(BundleUnusable):
        fetch(MemoryBlobStore(), MODEL, tmp_path)


def test_a_fetch_that_failed_is_repaired_by_the_next(tmp_path: Path) -> None:
    blobs = stored()
    blobs.away = True
    with pytest.raises(BlobUnavailable):
        fetch(blobs, MODEL, tmp_path)
    blobs.away = False
    assert read_bundle(fetch(blobs, MODEL, tmp_path).folder).digest == MODEL.digest


class BreakingBlobStore(MemoryBlobStore):
    """Blobs whose reading breaks off after `most` bytes from the start of each."""

    def __init__(self, blobs: dict[str, bytes], most: int) -> None:
        super().__init__()
        self.blobs = blobs
        self.most = most
        self.starts: list[int] = []

    def read_into(self, location: str, start: int, buffer: memoryview) -> int:
        """See BlobStore."""
        self.starts.append(start)
        if start >= self.most:
            raise BlobUnavailable
        return super().read_into(location, start, buffer[: self.most - start])


def test_a_fetch_that_broke_off_goes_on_where_it_was(tmp_path: Path) -> None:
    blobs = BreakingBlobStore(stored().blobs, most=100)
    with pytest.raises(BlobUnavailable):
        fetch(blobs, MODEL, tmp_path)
    blobs.most, blobs.starts = 2**40, []
    assert fetch(blobs, MODEL, tmp_path).digest == MODEL.digest
    assert blobs.starts[0] == 100


def test_several_processes_that_fetch_at_once_all_get_the_bundle(tmp_path: Path) -> None:
    blobs = stored()
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: fetch(blobs, MODEL, tmp_path).digest, range(8)))
    assert set(found) == {MODEL.digest}


def test_the_example_that_a_manifest_names_is_shown_in_place_of_the_schemas(
    shown: Callable[[bytes], PublishedModel],
) -> None:
    content = (factories.bundle().folder / "golden.json").read_bytes()
    case = json.loads(content)["cases"][3]["input"]
    assert shown(content).input_schema(1_000)["examples"] == [case]
    assert MODEL.input_schema(1_000).get("examples") != [case]


def test_a_model_whose_example_cannot_be_read_is_unavailable(
    shown: Callable[[bytes], PublishedModel],
) -> None:
    with pytest.raises(ModelUnavailable) as raised:
        shown(b"{").input_schema(1_000)
    assert "golden.json: not JSON" in raised.value.reason


@pytest.fixture
def shown() -> Callable[[bytes], PublishedModel]:
    """The model with its fourth golden case as an example, if this is its golden.json."""
    manifest = MODEL.manifest.model_copy(update={"example_case": 3})
    return lambda content: replace(MODEL, manifest=manifest, read={"golden.json": content}.__getitem__)
