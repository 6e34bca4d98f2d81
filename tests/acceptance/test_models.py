"""GET /v1/models: the catalogue, and the ways to name a model."""

import httpx
import jsonschema
import pytest

from tests.acceptance import cases
from tests.acceptance.calls import assert_problem, job_of, scored

FIELDS_OF_EVERY_MODEL = {
    "name", "kind", "task", "input_schema", "labels", "metrics", "versions", "aliases", "card",
}  # fmt: skip


def model(http: httpx.Client, reference: str = cases.BREAST_CANCER) -> dict[str, object]:
    answer = http.get(f"/v1/models/{reference}")
    assert answer.status_code == 200, answer.text
    return job_of(answer)


def test_the_catalogue_lists_the_bundled_models(http: httpx.Client) -> None:
    page = job_of(http.get("/v1/models"))
    found = {item["name"]: item for item in page["items"]}
    assert {cases.BREAST_CANCER, cases.PNEUMONIA} <= found.keys()
    assert found[cases.BREAST_CANCER]["task"] == "tabular-classification"
    assert found[cases.PNEUMONIA]["task"] == "image-classification"
    for item in found.values():
        assert item.keys() >= FIELDS_OF_EVERY_MODEL
        assert item["labels"] or not item["task"].endswith("-classification")
        assert item["card"].startswith("# ")


def test_a_model_is_shown_as_the_list_shows_it(http: httpx.Client) -> None:
    listed = job_of(http.get("/v1/models"))["items"]
    assert [model(http, item["name"]) for item in listed] == listed


def test_the_input_schema_fits_the_case_that_the_model_accepts(http: httpx.Client) -> None:
    schema = job_of(http.get(f"/v1/models/{cases.BREAST_CANCER}"))["input_schema"]
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(cases.golden()["input"], schema)
    example = schema["examples"][0]
    scored(http, cases.submission(input=example))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(example | {"mean_radius": -1}, schema)


def test_the_result_fits_the_result_schema(http: httpx.Client) -> None:
    for body in (cases.submission(), cases.image_submission(cases.image())):
        schema = job_of(http.get(f"/v1/models/{body['model']}"))["result_schema"]
        jsonschema.validate(scored(http, body)["result"], schema)


def test_every_feature_says_its_range_and_unit(http: httpx.Client) -> None:
    schema = job_of(http.get(f"/v1/models/{cases.BREAST_CANCER}"))["input_schema"]
    for feature in schema["properties"].values():
        assert {"title", "unit", "minimum", "maximum"} <= feature.keys()


def test_a_model_can_be_named_by_alias_and_by_version(http: httpx.Client) -> None:
    version = model(http)["version"]
    for reference in ("", "@stable", f"@{version}"):
        job = scored(http, model=cases.BREAST_CANCER + reference)
        assert (job["model"], job["model_version"]) == (cases.BREAST_CANCER, version)
        assert job["model_digest"] == model(http)["digest"]


def test_an_alias_points_to_a_version_that_is_listed(http: httpx.Client) -> None:
    found = job_of(http.get(f"/v1/models/{cases.BREAST_CANCER}"))
    assert found["aliases"]["stable"] in {version["version"] for version in found["versions"]}


@pytest.mark.parametrize(("name", "stated"), [("molecule-properties", "int8"), (cases.PNEUMONIA, None)])
def test_the_precision_that_a_manifest_states_is_shown(
    name: str, stated: str | None, http: httpx.Client
) -> None:
    found = job_of(http.get(f"/v1/models/{name}"))
    assert {found["precision"], *(version["precision"] for version in found["versions"])} == {stated}


@pytest.mark.parametrize(
    "reference", ["no-such-model", "breast-cancer-wisconsin@no-alias", "%00", "a" * 300, "@"]
)
def test_a_model_that_is_not_published_is_not_found(http: httpx.Client, reference: str) -> None:
    assert_problem(http.get(f"/v1/models/{reference}"), 404, "model_not_found")
