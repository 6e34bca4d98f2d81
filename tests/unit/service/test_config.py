"""Settings: read from variables, refused by name, handed on to child processes."""

import base64
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.config import MASTER_KEY_BYTES, PREFIX, Provider, Settings
from service.errors import SettingInvalid

FIELDS: dict[str, dict[str, Any]] = Settings.model_json_schema()["properties"]
LIMITS = {"minimum": -1, "maximum": 1, "exclusiveMinimum": 0}
BEYOND = [
    (name, str(field[limit] + step))
    for name, field in FIELDS.items()
    for limit, step in LIMITS.items()
    if limit in field
]
NUMBERS = [name for name, field in FIELDS.items() if field.get("type") in {"integer", "number"}]


def refused(variable: str, value: str) -> SettingInvalid:
    with pytest.raises(SettingInvalid) as caught:
        Settings.from_environment({variable: value})
    return caught.value


def variable(name: str) -> str:
    return PREFIX + name.upper()


@pytest.mark.parametrize(("name", "value"), BEYOND)
def test_a_number_beyond_its_limit_is_refused_by_name(name: str, value: str) -> None:
    assert refused(variable(name), value).variable == variable(name)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", ["many", "nan", "-inf", "1e999", "0x10", "1,5"])
def test_what_is_no_number_is_refused_by_name(name: str, value: str) -> None:
    assert refused(variable(name), value).variable == variable(name)


@pytest.mark.parametrize(
    ("name", "value"),
    [("provider", "gpu"), ("provider", "CUDA"), ("allow_cpu", "perhaps"), ("log_level", "LOUD")],
)
def test_a_word_that_is_not_offered_is_refused_by_name(name: str, value: str) -> None:
    assert refused(variable(name), value).variable == variable(name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("database_url", "nonsense"),
        ("database_url", "mysql://user:password@host/name"),
        ("redis_url", "nonsense"),
        ("redis_url", "http://host:6379/0"),
    ],
)
def test_the_address_of_another_kind_of_server_is_refused_by_name(name: str, value: str) -> None:
    assert refused(variable(name), value).variable == variable(name)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("public_url", "medqueue.example", "https://host"),
        ("public_url", "ftp://medqueue.example", "https://host"),
        ("public_url", "https://", "https://host"),
        ("public_url", "https://user:hunter2@medqueue.example", "without user"),
        ("public_url", "https://medqueue.example/?key=hunter2", "without user, query"),
        ("public_url", "https://medqueue.example:0", "https://host"),
        ("public_url", "https://[::1", "https://host"),
        ("webhook_proxy", "proxy:3128", "http://host:port"),
        ("webhook_proxy", "socks5://proxy:1080", "http://host:port"),
        ("webhook_proxy", "http://user:hunter2@proxy:3128", "without user"),
        ("webhook_allowed_ports", ",", "443,8443"),
        ("webhook_allowed_ports", "443;8443", "443,8443"),
        ("webhook_allowed_ports", "443,0", "443,8443"),
        ("webhook_allowed_ports", "65536", "443,8443"),
        ("webhook_allowed_ports", "443,*", "* for all"),
        ("webhook_allowed_ports", "https", "443,8443"),
        ("webhook_allowed_networks", "10.20.0.0/33", "10.20.0.0/16"),
        ("webhook_allowed_networks", "10.20.0.1/16", "without host bits"),
        ("webhook_allowed_networks", "receivers.example", "10.20.0.0/16"),
        ("webhook_ca_file", "/no/such/ca.pem", "no such file"),
    ],
)
def test_a_malformed_setting_of_webhooks_is_refused_by_name_and_told_its_form(
    name: str, value: str, says: str
) -> None:
    error = refused(variable(name), value)
    assert error.variable == variable(name)
    assert says in str(error)
    assert "hunter2" not in str(error)


@pytest.mark.parametrize("name", ["batch_allowed_roots", "batch_output_roots"])
@pytest.mark.parametrize(
    "value",
    [
        '["/night/in"]',
        "night/in",
        "/night/in,in",
        "/night/../etc",
        "/night//in",
        "s3://",
        "https://ward:hunter2@files.example/night",
        "https://files.example/night?token=hunter2",
    ],
)
def test_roots_of_batches_that_are_no_folders_are_refused_by_name(name: str, value: str) -> None:
    error = refused(variable(name), value)
    assert error.variable == variable(name)
    assert (
        f"{variable(name)}: it must be folders separated by commas, such as /night/in,s3://bucket/in"
        in str(error)
    )
    assert "hunter2" not in str(error)


def test_roots_of_batches_are_listed_with_commas_and_spaces() -> None:
    roots = (
        "/night/in",
        "file:///night/two",
        "s3://bucket",
        "https://files.example:8443/night",
        "http://[::1]/n",
    )
    grants = Settings(batch_allowed_roots=" , ".join(roots)).batch_root_grants
    assert tuple(grant.root for grant in grants) == roots


def test_ports_and_networks_are_listed_with_commas_and_spaces() -> None:
    settings = Settings(webhook_allowed_ports=" 443, 9000,", webhook_allowed_networks="10.0.0.0/8, fd00::/8")
    assert settings.webhook_ports == frozenset({443, 9000})
    assert [str(grant.network) for grant in settings.webhook_network_grants] == ["10.0.0.0/8", "fd00::/8"]
    assert Settings(webhook_allowed_ports="*").webhook_ports is None
    assert Settings().webhook_network_grants == ()


@pytest.mark.parametrize(
    ("settings", "location"),
    [
        (Settings(), "http://127.0.0.1:8080"),
        (Settings(api_host="::1", api_port=9), "http://[::1]:9"),
        (Settings(public_url="https://medqueue.example/"), "https://medqueue.example"),
        (Settings(public_url="https://example.org/medqueue/"), "https://example.org/medqueue"),
    ],
)
def test_receivers_are_told_where_they_reach_the_api(settings: Settings, location: str) -> None:
    assert settings.public_location == location


def test_a_refusal_names_the_variable_first_and_does_not_quote_the_value() -> None:
    message = str(refused("MEDQUEUE_API_PORT", "hunter2"))
    assert message.startswith("MEDQUEUE_API_PORT: ")
    assert "hunter2" not in message


def test_without_variables_every_setting_has_its_default() -> None:
    assert Settings.from_environment({}) == Settings()


def test_an_empty_variable_counts_as_not_set() -> None:
    assert Settings.from_environment({"MEDQUEUE_API_PORT": ""}).api_port == Settings().api_port


def test_other_variables_are_left_alone() -> None:
    assert Settings.from_environment({"API_PORT": "1", "PATH": "x"}) == Settings()


@pytest.mark.parametrize("written", ["1", "true", "yes", "on"])
def test_a_switch_is_set_by_the_usual_words(written: str) -> None:
    assert Settings.from_environment({"MEDQUEUE_ALLOW_CPU": written}).allow_cpu


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().api_port = 1


def test_a_misspelt_variable_is_found() -> None:
    environ = {"MEDQUEUE_PORT": "1", "MEDQUEUE_API_PORT": "1", "medqueue_x": "1", "PORT": "1"}
    assert Settings.unknown_variables(environ) == ["MEDQUEUE_PORT"]


text = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1)
some_settings = st.builds(
    Settings,
    data_dir=text.map(Path),
    blob_url=text,
    master_key=text,
    api_host=text,
    api_port=st.integers(0, 65535),
    max_wait_s=st.floats(0, 300, exclude_min=True),
    max_upload_bytes=st.integers(1024, 2**60),
    provider=st.sampled_from(Provider),
    allow_cpu=st.booleans(),
    lease_s=st.floats(0.5, 3600),
    log_level=st.sampled_from(["DEBUG", "ERROR"]),
)


@given(some_settings)
def test_a_child_process_reads_the_same_settings(settings: Settings) -> None:
    assert Settings.from_environment(settings.environment()) == settings


def test_a_child_process_is_told_only_what_differs_from_the_defaults() -> None:
    settings = Settings(api_port=9, allow_cpu=True, provider=Provider.CPU)
    assert settings.environment() == {
        "MEDQUEUE_API_PORT": "9",
        "MEDQUEUE_ALLOW_CPU": "1",
        "MEDQUEUE_PROVIDER": "cpu",
    }


def test_blobs_lie_in_the_data_folder_unless_told_otherwise(tmp_path: Path) -> None:
    assert Settings(data_dir=tmp_path).blob_location == (tmp_path / "blobs").as_uri()
    assert Settings(data_dir=tmp_path, blob_url="s3://bucket").blob_location == "s3://bucket"


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"MEDQUEUE_API_THREADS": "8"},
        {"MEDQUEUE_API_THREADS": "2"},
        {"MEDQUEUE_MAX_WAITERS": "32"},
        {"MEDQUEUE_API_THREADS": "64", "MEDQUEUE_MAX_WAITERS": "500"},
    ],
    ids=str,
)
def test_settings_that_let_waiting_requests_take_every_thread_are_refused(environ: dict[str, str]) -> None:
    with suppress(SettingInvalid):
        settings = Settings.from_environment(environ)
        assert settings.max_waiters < settings.api_threads


KEY = bytes(range(MASTER_KEY_BYTES))
KEY_TEXT = base64.b64encode(KEY).decode()


def test_the_master_key_is_read_from_its_variable() -> None:
    assert Settings(master_key=KEY_TEXT).master_key_bytes() == KEY


def test_the_master_key_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "master.key").write_text(KEY_TEXT + "\n")
    assert Settings(data_dir=tmp_path).master_key_bytes() == KEY


def test_the_variable_goes_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "master.key").write_text(base64.b64encode(bytes(MASTER_KEY_BYTES)).decode())
    assert Settings(data_dir=tmp_path, master_key=KEY_TEXT).master_key_bytes() == KEY


@pytest.mark.parametrize(
    "written",
    ["", "!", "a", KEY_TEXT[:-4], KEY_TEXT + "AAAA", KEY.hex(), "ключ", "hunter2"],
)
def test_a_master_key_that_is_not_32_bytes_in_base64_is_refused_unquoted(
    written: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingInvalid) as caught:
        Settings(data_dir=tmp_path, master_key=written).master_key_bytes()
    assert caught.value.variable == "MEDQUEUE_MASTER_KEY"
    assert len(written) < 2 or written not in str(caught.value)


def test_a_master_key_file_of_raw_bytes_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "master.key").write_bytes(bytes(range(200, 200 + MASTER_KEY_BYTES)))
    with pytest.raises(SettingInvalid) as caught:
        Settings(data_dir=tmp_path).master_key_bytes()
    assert caught.value.variable == "MEDQUEUE_MASTER_KEY"


def test_who_has_no_master_key_is_told_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(SettingInvalid, match="openssl rand -base64 32"):
        Settings(data_dir=tmp_path).master_key_bytes()


def test_every_setting_says_what_it_is_for() -> None:
    assert [name for name, field in FIELDS.items() if not field.get("description")] == []


@pytest.mark.parametrize(
    "address",
    ["postgresql://u:p@host:port/name", "postgresql://u:p@[::1/name", "postgresql://u:p@ho st/name"],
)
def test_a_malformed_address_of_postgres_is_refused_by_name(address: str) -> None:
    with pytest.raises(SettingInvalid, match=r"^MEDQUEUE_DATABASE_URL: it reads"):
        Settings.from_environment({"MEDQUEUE_DATABASE_URL": address})


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://u:p@h1:5432,h2/name?target_session_attrs=read-write",
        "postgres://u:p@[::1]:5432/name",
        "postgresql://u:p@/name?host=%2Ftmp%2Fx",
        "postgresql://u:p%40,@h/name",
        "postgresql://%2Fvar%2Frun/name",
        "postgresql://",
    ],
)
def test_every_form_of_an_address_of_postgres_is_taken(address: str) -> None:
    assert Settings.from_environment({"MEDQUEUE_DATABASE_URL": address}).database_url == address


@pytest.mark.parametrize("name", ["a/b", "..", "a\nb", "x" * 101])
def test_a_name_of_a_worker_that_can_be_no_file_is_refused(name: str) -> None:
    with pytest.raises(SettingInvalid, match=r"^MEDQUEUE_WORKER_NAME: "):
        Settings.from_environment({"MEDQUEUE_WORKER_NAME": name})


def test_a_process_that_works_on_servers_needs_their_addresses() -> None:
    with pytest.raises(SettingInvalid, match=r"^MEDQUEUE_DATABASE_URL: it is not set"):
        Settings().with_servers()
    with pytest.raises(SettingInvalid, match=r"^MEDQUEUE_REDIS_URL: it is not set"):
        Settings(database_url="postgresql://h/n").with_servers()
