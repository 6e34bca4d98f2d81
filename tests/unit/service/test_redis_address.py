"""What an address of Redis means, and what is refused by name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.config import Settings
from service.errors import SettingInvalid
from service.redis_address import RedisAddress

SECRET = "s3cret"


@pytest.mark.parametrize(
    ("url", "hosts", "db", "encrypted"),
    [
        ("redis://h:1/2", (("h", 1),), 2, False),
        ("redis://h", (("h", 6379),), 0, False),
        ("redis:///3", (("localhost", 6379),), 3, False),
        ("redis://h?db=4", (("h", 6379),), 4, False),
        ("redis://[::1]:7/0", (("::1", 7),), 0, False),
        ("redis://[fd12::1]", (("fd12::1", 6379),), 0, False),
        ("rediss://h:6380/1", (("h", 6380),), 1, True),
        ("sentinel://a,b:3,[::1]:4/5?service_name=m", (("a", 26379), ("b", 3), ("::1", 4)), 5, False),
        ("sentinel://a?service_name=m&ssl=true", (("a", 26379),), 0, True),
    ],
)
def test_an_address_says_where_redis_is(
    url: str, hosts: tuple[tuple[str, int], ...], db: int, encrypted: bool
) -> None:
    address = RedisAddress.parse(url)
    assert (address.hosts, address.db, address.tls is not None) == (hosts, db, encrypted)


@given(st.text(min_size=1), st.text(min_size=1))
def test_user_and_password_come_through_in_percent_encoding(user: str, password: str) -> None:
    from urllib.parse import quote

    user, password = (text.encode("utf-8", "replace").decode() for text in (user, password))
    address = RedisAddress.parse(f"redis://{quote(user, safe='')}:{quote(password, safe='')}@h/0")
    assert (address.username, address.password) == (user, password)


@pytest.mark.parametrize("written", ["none", "CERT_NONE", "cert_none"])
def test_certificates_are_not_checked_where_that_is_asked_for(written: str) -> None:
    assert RedisAddress.parse(f"rediss://h?ssl_cert_reqs={written}").tls == {"ssl_cert_reqs": "none"}


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("host:6379", "redis://"),
        ("http://h", "redis://, rediss:// or sentinel://"),
        ("valkey://h", "write redis://"),
        ("valkeys://h", "write rediss://"),
        ("unix:///run/redis.sock", "let Redis listen on a port"),
        ("redis+socket:///run/redis.sock", "let Redis listen on a port"),
        ("redis+cluster://h", "cluster is not supported"),
        ("redis+sentinel://h", "sentinel://"),
        ("sentinels://h", "ssl=true"),
        ("redis://a,b/0", "sentinel://"),
        ("sentinel://a:1;sentinel://b:2/0", "commas"),
        ("sentinel://a/0", "service_name"),
        ("redis://h/name", "number of a database"),
        ("redis://h:70000", "port"),
        ("redis://h:0", "port"),
        ("redis://::1:6379/0", "brackets"),
        ("redis://h?verify=no", "verify is not known"),
        ("redis://h?ssl_cert_reqs=none", "rediss://"),
        ("rediss://h?ssl_cert_reqs=maybe", "one of required"),
        ("rediss://h?ssl_ca_certs=/no/such/file", "ssl_ca_certs does not exist"),
        ("redis://h?socket_timeout=soon", "number"),
        ("redis://:a#b@h/0", "%23"),
    ],
)
def test_what_is_not_supported_is_refused_with_what_to_write(url: str, told: str) -> None:
    with pytest.raises(SettingInvalid) as refused:
        Settings.from_environment({"MEDQUEUE_REDIS_URL": url})
    assert refused.value.variable == "MEDQUEUE_REDIS_URL"
    assert told in refused.value.detail


@pytest.mark.parametrize(
    "url",
    [
        f"redis://u:{SECRET}@h/0",
        f"rediss://:{SECRET}@h/0?ssl_password={SECRET}",
        f"sentinel://u:{SECRET}@a,b/0?service_name=m&sentinel_password={SECRET}",
    ],
)
def test_an_address_is_shown_without_its_secrets(url: str) -> None:
    address = RedisAddress.parse(url)
    assert SECRET not in f"{address} {address!r}"


@pytest.mark.parametrize(
    "url", [f"redis://:{SECRET}@h:x/0", f"unix://:{SECRET}@/x", f"redis://:{SECRET}#@h/0"]
)
def test_a_refusal_holds_no_part_of_the_address(url: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        RedisAddress.parse(url)
    assert SECRET not in str(refused.value)
