"""Pipelines, built in and of packages: found by name, a built-in one first, and faults that name the package."""

from importlib.metadata import entry_points
from pathlib import Path
from uuid import uuid4

import pytest

from models.bundle import ZOO, read_bundle, side_files
from models.checking import check_bundle
from models.manifest import BundleRefused, Fault, ModelManifest
from models.pipelines import ReadFile, load_pipeline, no_files, registered_pipelines
from models.pipelines.contract import SIDE_FILE_BYTES, Pipeline
from models.pipelines.registry import name_faults
from models.pipelines.side_files import missing, too_large
from models.sandbox import CpuRun
from tests.unit.models.example_bundles import manifest as example
from tests.unit.models.example_bundles import manifest_table, told, toml, write_bundle
from tests.unit.models.plug_ins import WORDS, install

PLACE = "manifest.toml: pipeline"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that packages are looked for in."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    return folder


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A folder with a side file of words."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "words.txt").write_text("ill well")
    return folder


def package() -> str:
    """A name that no test has imported a module of."""
    return f"words-{uuid4().hex}"


def manifest(pipeline: str = "words", **parameters: object) -> ModelManifest:
    return ModelManifest.model_validate(manifest_table() | {"pipeline": pipeline, "parameters": parameters})


def fault(bundle: Path, of: ModelManifest) -> Fault:
    with pytest.raises(BundleRefused) as caught:
        load_pipeline(of, side_files(bundle))
    [found] = caught.value.faults
    assert told([found])
    return found


def test_a_pipeline_of_an_installed_package_is_found_by_its_name(site: Path, bundle: Path) -> None:
    install(site, package(), {"words": "{module}:load"})
    assert "words" in registered_pipelines()
    pipeline = load_pipeline(manifest(), side_files(bundle))
    assert isinstance(pipeline, Pipeline)
    [answer] = pipeline.open(bundle).score(lambda feeds, graph="model": {}, [()])  # type: ignore[list-item]
    assert answer.result == {"words": ["ill", "well"]}


def test_a_pipeline_that_no_package_provides_is_refused_with_the_known_ones(bundle: Path) -> None:
    found = fault(bundle, manifest("letters"))
    assert (found.place, found.code) == (PLACE, "unknown_pipeline")
    assert "tabular-classification" in found.detail
    assert "install the package" in found.detail


@pytest.mark.parametrize(
    ("value", "source", "reason"),
    [
        ("{module}:load", None, "ModuleNotFoundError"),
        ("{module}:load", "import no_such_package_of_anybody", "ModuleNotFoundError: No module named"),
        ("{module}:load", "raise RuntimeError('broken')", "RuntimeError: broken"),
        ("{module}:load", "import sys; sys.exit('no licence')", "SystemExit: no licence"),
        ("{module}:load", "x = 1", "AttributeError"),
        ("{module}:load", "load = 3", "'int' object is not callable"),
        ("{module}:load", "def load(manifest): pass", "TypeError"),
        ("{module}:load", "def load(manifest, read): raise KeyError('x')", "KeyError"),
        ("{module}:load", "def load(manifest, read): return {}", "gave dict, which is no pipeline"),
    ],
)
def test_a_package_that_cannot_be_used_is_named_with_what_to_do(
    value: str, source: str | None, reason: str, site: Path, bundle: Path
) -> None:
    name = package()
    install(site, name, {"words": value}, source)
    found = fault(bundle, manifest())
    assert (found.place, found.code) == (PLACE, "pipeline_unavailable")
    provided_by, _, advice = found.detail.rpartition("): ")
    assert provided_by.startswith(
        f"the package {name} 1.2.0 provides 'words' by {value.format(module=name.replace('-', '_'))}, "
    )
    assert reason in provided_by.partition("which cannot be used (")[2]
    assert advice == "fix or update that package where medqueue is installed, or install what it lacks"


def test_a_broken_package_keeps_no_other_pipeline_from_loading(site: Path, bundle: Path) -> None:
    install(site, package(), {"broken": "{module}:load"}, "raise RuntimeError")
    install(site, package(), {"words": "{module}:load"})
    assert fault(bundle, manifest("broken")).code == "pipeline_unavailable"
    assert load_pipeline(manifest(), side_files(bundle)).input_schema() == {"type": "object"}


def test_a_name_that_two_packages_provide_is_refused(site: Path, bundle: Path) -> None:
    names = [package(), package()]
    for name in names:
        install(site, name, {"words": "{module}:load"})
    found = fault(bundle, manifest())
    assert (found.place, found.code) == (PLACE, "pipeline_name_taken")
    first, second = (f"the package {name} 1.2.0" for name in sorted(names))
    assert found.detail == f"{first} and {second} both provide 'words': uninstall one of them"


def test_no_package_takes_the_place_of_a_built_in_pipeline(site: Path, tmp_path: Path) -> None:
    name = package()
    folder = write_bundle(tmp_path / "good")
    built_in = load_pipeline(ModelManifest.model_validate(manifest_table()))
    assert check_bundle(folder, CpuRun()) == []
    install(site, name, {"tabular-classification": "{module}:load", "words": "{module}:load"})
    assert type(load_pipeline(ModelManifest.model_validate(manifest_table()))) is type(built_in)
    [found] = check_bundle(folder, CpuRun())
    assert (found.place, found.code) == (PLACE, "pipeline_name_taken")
    advice = "which is built into medqueue: uninstall that package, or rename its entry point"
    assert found.detail == f"the package {name} 1.2.0 provides a pipeline 'tabular-classification', {advice}"
    assert name_faults("words") == []


def test_a_side_file_that_the_package_fails_on_is_named(site: Path, bundle: Path) -> None:
    name = package()
    source = WORDS.replace("words.decode().split()", "json.loads(words)")
    install(site, name, {"words": "{module}:load"}, source)
    found = fault(bundle, manifest())
    assert (found.place, found.code) == ("words.txt", "bundle_not_opened")
    assert found.detail.startswith(
        f"the package {name} 1.2.0 cannot use 'words.txt' of the bundle (JSONDecodeError: "
    )
    assert found.detail.endswith("correct the file and seal the bundle, or fix that package")
    more = source.replace("read(parameters.words)", "read(parameters.words) and read('more.txt')")
    install(site, package(), {"more": "{module}:load"}, more)
    (bundle / "more.txt").write_text("[")
    found = fault(bundle, manifest("more"))
    assert (found.place, found.code) == ("manifest.toml: parameters", "bundle_not_opened")
    assert "cannot use 'words.txt', 'more.txt' of the bundle" in found.detail


@pytest.mark.parametrize("fails_at", ["a key of the manifest", "a side file", "anything"])
def test_a_process_that_runs_an_older_version_of_a_package_says_so(
    fails_at: str, site: Path, bundle: Path
) -> None:
    name = package()
    source = (
        WORDS.replace("words.decode().split()", "json.loads(words)") if fails_at == "a side file" else WORDS
    )
    if fails_at == "anything":
        source = WORDS.replace("parameters = parse", "assert not manifest.parameters\n    parameters = parse")
    install(site, name, {"words": "{module}:load"}, source)
    (bundle / "words.txt").write_text("[1]")
    assert load_pipeline(manifest(), side_files(bundle))
    (metadata,) = site.glob("*.dist-info")
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.3.0\n")
    if fails_at == "a side file":
        (bundle / "words.txt").write_text("[")
    found = fault(bundle, manifest() if fails_at == "a side file" else manifest(cutoff=3))
    assert (found.place, found.code) == (PLACE, "pipeline_unavailable")
    assert found.detail == f"this process runs {name} 1.2.0, and 1.3.0 is installed: restart it"


def test_a_side_file_that_a_parameter_names_must_be_there_and_small(site: Path, bundle: Path) -> None:
    install(site, package(), {"words": "{module}:load"})
    (bundle / "large.txt").write_bytes(b"x" * SIDE_FILE_BYTES)
    assert load_pipeline(manifest(words="large.txt"), side_files(bundle))
    (bundle / "large.txt").write_bytes(b"x" * (SIDE_FILE_BYTES + 1))
    (bundle / "link.txt").symlink_to(bundle / "words.txt")
    for path, code in (
        ("large.txt", "side_file_too_large"),
        ("letters.txt", "side_file_missing"),
        ("link.txt", "side_file_missing"),
        ("../bundle/words.txt", "side_file_missing"),
    ):
        found = fault(bundle, manifest(words=path))
        assert (found.place, found.code) == ("manifest.toml: parameters.words", code)
        assert path in found.detail
        assert told([found])
    assert "more than 8 MiB" in fault(bundle, manifest(words="large.txt")).detail


def test_a_side_file_that_cannot_be_used_is_told_by_its_path() -> None:
    for unusable, code in ((missing, "side_file_missing"), (too_large, "side_file_too_large")):
        assert told(unusable("words.txt").faults) == {("words.txt", code)}


def test_the_default_of_a_side_file_is_looked_for_too(site: Path, bundle: Path) -> None:
    install(site, package(), {"words": "{module}:load"})
    (bundle / "words.txt").unlink()
    found = fault(bundle, manifest())
    assert (found.place, found.code) == ("manifest.toml: parameters.words", "side_file_missing")


def test_what_reading_raises_is_no_fault_of_the_package(site: Path) -> None:
    class StoreAway(Exception):
        pass

    def read(path: str) -> bytes:
        raise StoreAway

    install(site, package(), {"words": "{module}:load"})
    with pytest.raises(StoreAway):
        load_pipeline(manifest(), read)


def test_a_file_is_read_once_for_its_check_and_its_use(site: Path, bundle: Path) -> None:
    paths: list[str] = []

    def read(path: str) -> bytes:
        paths.append(path)
        return side_files(bundle)(path)

    install(site, package(), {"words": "{module}:load"})
    load_pipeline(manifest(), read)
    assert paths == ["words.txt"]


@pytest.mark.parametrize(
    "body", ['return {"type": "objekt"}', "raise KeyError", 'return {"properties": [1]}', "return None"]
)
def test_a_check_tells_of_schemas_that_are_none(body: str, site: Path, tmp_path: Path) -> None:
    head = "def result_schema(self):\n        "
    source = WORDS.replace(f'{head}return {{"type": "object"}}', f"{head}{body}")
    assert source != WORDS
    install(site, package(), {"words": "{module}:load"}, source)
    folder = write_bundle(tmp_path / "own")
    (folder / "words.txt").write_text("ill well")
    (folder / "manifest.toml").write_text(toml(manifest_table() | {"pipeline": "words", "parameters": {}}))
    found = {fault.code: fault for fault in check_bundle(folder, CpuRun())}["schema_invalid"]
    assert found.place == PLACE
    assert "its result schema" in found.detail


def test_a_check_tells_of_a_bundle_that_its_pipeline_cannot_open(site: Path, tmp_path: Path) -> None:
    source = WORDS.replace('(folder / "words.txt").read_text()', '(folder / "grammar.txt").read_text()')
    install(site, package(), {"words": "{module}:load"}, source)
    folder = write_bundle(tmp_path / "own")
    (folder / "words.txt").write_text("ill well")
    own = manifest_table() | {"pipeline": "words", "parameters": {}}
    (folder / "manifest.toml").write_text(toml(own))
    found = {(fault.place, fault.code) for fault in check_bundle(folder, CpuRun())}
    assert ("CARD.md", "file_not_listed") in found
    assert ("manifest.toml: parameters", "bundle_not_opened") in found


@pytest.mark.parametrize(
    "name", sorted(set(registered_pipelines()) - entry_points(group="medqueue.pipelines").names)
)
def test_every_built_in_pipeline_can_be_loaded(name: str) -> None:
    made = example(name)
    files: ReadFile = no_files
    own = {
        "advice": "health-advice-recommender",
        "recommendation": "medication-recommender",
        "treatment-plan": "treatment-plan-recommender",
    }
    if bundled := own.get(name):
        made, files = read_bundle(ZOO / bundled).manifest, side_files(ZOO / bundled)
    assert bool(load_pipeline(made, files).graphs) == (name != "advice")  # which has rules and no graph
