"""Settings, read once from MEDQUEUE_* variables. The only reader of the environment.

Owns names, defaults and bounds of every setting; connects to nothing and creates nothing.
"""

import base64
import binascii
import ipaddress
import os
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from service import tenant_grants
from service.errors import SettingInvalid
from service.postgres_address import PostgresAddress
from service.redis_address import RedisAddress
from service.tenant_grants import FIRST_TENANT, Access, NetworkGrant, RootGrant

PREFIX = "MEDQUEUE_"
MASTER_KEY_BYTES = 32
ANY_PORT = "*"
# Of an API process, beside api_threads: of requests whose turn has not come (service.api.http.turns), and those that answer
# probes (service.api.http.places).
LINE_THREADS, SPARE_THREADS = 160, 64
NAME = re.compile(r"[^/\x00-\x1f\x7f]{0,100}")


class Provider(StrEnum):
    """Where models run. `auto` takes CUDA where it works and the CPU otherwise."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Settings(BaseModel):
    """Every setting, with its default. Field `x_y` is read from MEDQUEUE_X_Y."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    database_url: str = Field(
        default="", description="Postgres 15 or later, as postgresql://user:password@host/name."
    )
    redis_url: str = Field(
        default="",
        description="Redis used for wake-ups only, as redis://host:port/0; with TLS rediss://, with Sentinels sentinel://.",
    )
    data_dir: Path = Field(
        default=Path(".medqueue"), description="Folder of the embedded stack: servers, keys, logs."
    )
    blob_url: str = Field(
        default="", description="Encrypted blob store, any fsspec URL; default: a folder in data_dir."
    )
    master_key: str = Field(
        default="", description="32 bytes in base64 that wrap the data keys; else master.key in data_dir."
    )

    api_host: str = Field(default="127.0.0.1", description="Address the API listens on.")
    api_port: Annotated[int, Field(ge=0, le=65535, description="Port the API listens on.")] = 8080
    api_workers: Annotated[int, Field(ge=1, le=64, description="API processes.")] = 1
    api_threads: Annotated[
        int,
        Field(
            ge=2,
            le=512,
            description="Threads of each API process that work on requests; others answer probes.",
        ),
    ] = 64
    max_waiters: Annotated[
        int, Field(ge=0, le=500, description="Requests of one API process that may wait.")
    ] = 32
    max_wait_s: Annotated[float, Field(gt=0, le=300, description="Longest wait granted to Prefer: wait.")] = (
        60.0
    )
    max_body_bytes: Annotated[int, Field(ge=1024, description="Largest JSON body.")] = 16 * 1024 * 1024
    max_input_bytes: Annotated[int, Field(ge=1024, description="Largest binary input of one job.")] = (
        8 * 1024 * 1024
    )
    max_upload_bytes: Annotated[int, Field(ge=1024, description="Largest upload.")] = 2 * 1024**3
    uploaded_bytes_per_day: Annotated[
        int, Field(ge=1024, description="Bytes that a tenant may upload in 24 hours.")
    ] = 1024**4
    uploaded_bytes_per_tenant: Annotated[
        int, Field(ge=1024, description="Bytes of uploads that a tenant may have stored.")
    ] = 16 * 1024**4
    max_artifacts: Annotated[int, Field(ge=1, le=1000, description="Most artifacts of one job.")] = 32
    max_artifact_bytes: Annotated[
        int, Field(ge=1024, description="Most bytes of the artifacts of one job together.")
    ] = 256 * 1024 * 1024
    max_queued: Annotated[int, Field(ge=1, description="Queued jobs at which new ones are refused.")] = (
        2_000_000
    )
    max_queued_per_tenant: Annotated[
        int, Field(ge=1, description="Queued jobs of one tenant at which its new ones are refused.")
    ] = 1_000_000
    public_url: str = Field(
        default="",
        description="Where receivers of webhooks reach the API, as https://host; default: the address it listens on.",
    )
    db_pool_size: Annotated[int, Field(ge=1, le=200, description="Postgres connections of one process.")] = 10
    cache_s: Annotated[float, Field(ge=0, le=60, description="How long keys and aliases are cached.")] = 1.0

    webhook_allow_http: bool = Field(
        default=False, description="Send webhooks to http:// URLs too, unencrypted."
    )
    webhook_allowed_ports: str = Field(
        default="443,8443", description="Ports that receivers may use, separated by commas; * for all."
    )
    webhook_allowed_networks: str = Field(
        default="",
        description="Private networks that the first tenant's receivers may be in: 10.20.0.0/16, separated by commas.",
    )
    webhook_tenant_networks: str = Field(
        default="",
        description="The same by tenant: `tenant = network`, separated by semicolons; `*` for every tenant.",
    )
    webhook_proxy: str = Field(
        default="", description="Proxy through which webhooks go, as http://host:port; it resolves names."
    )
    webhooks_held: bool = Field(
        default=False,
        description="Hold webhooks back, such as after a restore, until this is unset.",
    )
    webhook_ca_file: Path | None = Field(
        default=None,
        description="PEM file of certificates that receivers are verified against; default: the system's.",
    )

    batch_allowed_roots: str = Field(
        default="",
        description="Where sources of the first tenant's batches may lie: /night/in or s3://bucket/in, separated by commas.",
    )
    batch_output_roots: str = Field(
        default="",
        description="Where copies of the output of its batches may be written unencrypted, listed as the source roots.",
    )
    batch_tenant_roots: str = Field(
        default="",
        description="The same by tenant: `tenant = root, read|write`, separated by semicolons; `*` for every tenant.",
    )
    batch_chunk_s: Annotated[
        float, Field(ge=0.05, le=60, description="How long a chunk of a batch should take, in seconds.")
    ] = 3.0

    provider: Provider = Field(default=Provider.AUTO, description="Execution provider: auto, cpu or cuda.")
    allow_cpu: bool = Field(
        default=False, description="Let a CUDA worker run on the CPU when CUDA does not work."
    )
    model_memory_mb: Annotated[int, Field(ge=16, description="Memory budget for loaded models.")] = 2048
    threads_per_model: Annotated[int, Field(ge=1, le=256, description="CPU threads of one session.run.")] = 1
    worker_name: str = Field(
        default="", description="Name of this worker in leases, logs and its ready file."
    )
    lease_s: Annotated[
        float, Field(ge=0.5, le=3600, description="How long a claim holds without a heartbeat.")
    ] = 15.0
    join_s: Annotated[
        float,
        Field(
            ge=0,
            le=600,
            description="How long jobs join texts that are being written while other models wait; 0: none join.",
        ),
    ] = 5.0
    max_crashes: Annotated[
        int, Field(ge=1, le=20, description="Crashes while claimed alone before a job is quarantined.")
    ] = 3
    max_attempts: Annotated[int, Field(ge=1, le=100, description="Attempts before a job fails for good.")] = 8
    retry_base_s: Annotated[
        float, Field(gt=0, le=600, description="First back-off after a transient fault.")
    ] = 1.0
    retry_cap_s: Annotated[float, Field(gt=0, le=86400, description="Longest back-off.")] = 300.0
    sweep_s: Annotated[
        float, Field(ge=0.1, le=60, description="Interval of rescue, expiry, overdue jobs and re-wake.")
    ] = 2.0
    failpoints: Path | None = Field(
        default=None, description="Folder of failpoint tokens, for fault tests; unset otherwise."
    )
    metrics_host: str = Field(
        default="127.0.0.1", description="Address on which workers and scheduler serve their metrics."
    )
    metrics_port: Annotated[int, Field(ge=0, le=65535)] | None = Field(
        default=None, description="Port of those metrics; 0: any free one; unset: they are not served."
    )
    log_level: str = Field(
        default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="Least severe level logged."
    )

    @field_validator("database_url")
    @classmethod
    def _names_postgres(cls, url: str) -> str:
        if url:
            PostgresAddress.parse(url)
        return url

    @field_validator("worker_name")
    @classmethod
    def _names_files(cls, name: str) -> str:
        """It becomes part of the names of a queue and of files in the data folder."""
        if name in {".", ".."} or not NAME.fullmatch(name):
            raise ValueError("it must be at most 100 characters, none of them a slash or a control character")
        return name

    @field_validator("redis_url")
    @classmethod
    def _names_redis(cls, url: str) -> str:
        if url:
            RedisAddress.parse(url)
        return url

    @field_validator("public_url")
    @classmethod
    def _is_a_base(cls, url: str) -> str:
        """Paths are appended to it and receivers see it: it may hold neither a user nor a query."""
        return _http_url(url, "https://host").rstrip("/")

    @field_validator("webhook_proxy")
    @classmethod
    def _is_a_proxy(cls, url: str) -> str:
        return _http_url(url, "http://host:port")

    @field_validator("webhook_allowed_ports")
    @classmethod
    def _are_ports(cls, text: str) -> str:
        if text.strip() != ANY_PORT:
            ports = _listed(text)
            if not ports or not all(port.isdecimal() and 0 < int(port) < 65536 for port in ports):
                raise ValueError("it must be ports separated by commas, such as 443,8443, or * for all")
        return text

    @field_validator("webhook_allowed_networks")
    @classmethod
    def _are_networks(cls, text: str) -> str:
        try:
            for network in _listed(text):
                ipaddress.ip_network(network)
        except ValueError:
            raise ValueError(
                "it must be networks separated by commas, such as 10.20.0.0/16,fd12::/32, without host bits"
            ) from None
        return text

    @field_validator("webhook_ca_file")
    @classmethod
    def _is_readable(cls, path: Path | None) -> Path | None:
        if path is not None and not os.access(path, os.R_OK):
            raise ValueError("there is no such file, or it cannot be read")
        return path

    @field_validator("batch_allowed_roots", "batch_output_roots")
    @classmethod
    def _are_roots(cls, text: str) -> str:
        if not all(map(tenant_grants.is_root, _listed(text))):
            raise ValueError("it must be folders separated by commas, such as /night/in,s3://bucket/in")
        return text

    @field_validator("batch_tenant_roots", "webhook_tenant_networks")
    @classmethod
    def _are_grants(cls, text: str, info: ValidationInfo) -> str:
        if info.field_name == "batch_tenant_roots":
            tenant_grants.grants_of(text)
        else:
            tenant_grants.network_grants_of(text)
        return text

    @model_validator(mode="after")
    def _leaves_threads(self) -> Self:
        """Each waiting request holds a thread: some must be left for the others."""
        if self.max_waiters >= self.api_threads:
            raise SettingInvalid(
                PREFIX + "MAX_WAITERS",
                f"it must be less than {PREFIX}API_THREADS, which is {self.api_threads}",
            )
        return self

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Read MEDQUEUE_* variables. Raises SettingInvalid naming the variable that is wrong."""
        given = {name: environ.get(PREFIX + name.upper(), "") for name in cls.model_fields}
        try:
            return cls.model_validate({name: value for name, value in given.items() if value != ""})
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            reason = first["msg"].removeprefix(
                "Value error, "
            )  # pydantic's prefix to what our validators raise
            raise SettingInvalid(PREFIX + str(first["loc"][0]).upper(), reason) from None

    def with_servers(self) -> Self:
        """These settings, for a process that works on the servers. Raises SettingInvalid when an address is missing."""
        for name, shape in (
            ("database_url", "postgresql://user:password@host/name"),
            ("redis_url", "redis://host:port/0"),
        ):
            if not getattr(self, name):
                raise SettingInvalid(PREFIX + name.upper(), f"it is not set; it reads {shape}")
        return self

    @classmethod
    def unknown_variables(cls, environ: Mapping[str, str] = os.environ) -> list[str]:
        """MEDQUEUE_* variables that no setting reads: mostly misspelled."""
        known = {PREFIX + name.upper() for name in cls.model_fields}
        return sorted(name for name in environ if name.startswith(PREFIX) and name not in known)

    def environment(self) -> dict[str, str]:
        """The variables that reproduce these settings in a child process."""
        values = self.model_dump(mode="json", exclude_defaults=True)
        return {
            PREFIX + name.upper(): str(int(value) if isinstance(value, bool) else value)
            for name, value in values.items()
        }

    @property
    def blob_location(self) -> str:
        """The blob store's URL, with its default filled in."""
        return self.blob_url or (self.data_dir.absolute() / "blobs").as_uri()

    @property
    def blob_setting(self) -> str:
        """The variable that says where the blob store is."""
        return PREFIX + ("BLOB_URL" if self.blob_url else "DATA_DIR")

    @property
    def public_location(self) -> str:
        """Where receivers of webhooks reach the API, without a slash at the end."""
        host = f"[{self.api_host}]" if ":" in self.api_host else self.api_host
        return self.public_url or f"http://{host}:{self.api_port}"

    @property
    def webhook_ports(self) -> frozenset[int] | None:
        """The ports that receivers may use; None for all."""
        text = self.webhook_allowed_ports
        return None if text.strip() == ANY_PORT else frozenset(map(int, _listed(text)))

    @property
    def webhook_network_grants(self) -> tuple[NetworkGrant, ...]:
        """Every private network that receivers may be in, and of which tenant."""
        networks = map(ipaddress.ip_network, _listed(self.webhook_allowed_networks))
        found = [NetworkGrant(FIRST_TENANT, network) for network in networks]
        return (*found, *tenant_grants.network_grants_of(self.webhook_tenant_networks))

    @property
    def batch_root_grants(self) -> tuple[RootGrant, ...]:
        """Every root of sources and copies, and whose it is."""
        found = [RootGrant(FIRST_TENANT, root, Access.READ) for root in _listed(self.batch_allowed_roots)]
        found += [RootGrant(FIRST_TENANT, root, Access.WRITE) for root in _listed(self.batch_output_roots)]
        return (*found, *tenant_grants.grants_of(self.batch_tenant_roots))

    def master_key_bytes(self) -> bytes:
        """The 32-byte master key. Raises SettingInvalid when there is none or it is malformed."""
        path = self.data_dir / "master.key"
        try:
            written = self.master_key.encode() or (path.read_bytes() if path.is_file() else b"")
        except OSError as error:
            raise SettingInvalid(PREFIX + "MASTER_KEY", f"{path} cannot be read: {error.strerror}") from None
        if not written:
            raise SettingInvalid(
                PREFIX + "MASTER_KEY",
                f"no master key: set it, or put one in {path}. What is stored already needs its own key; for a new "
                "installation, `openssl rand -base64 32` makes one",
            )
        try:
            key = base64.b64decode(written.strip(), validate=True)
        except binascii.Error:
            key = b""
        if len(key) != MASTER_KEY_BYTES:
            raise SettingInvalid(PREFIX + "MASTER_KEY", "it must be 32 bytes in base64")
        return key


def _listed(text: str) -> tuple[str, ...]:
    """The items of a comma-separated list."""
    return tuple(part for part in map(str.strip, text.split(",")) if part)


def _http_url(url: str, shape: str) -> str:
    """`url`, when it is empty or names a host by http or https and nothing secret."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if url and not (good and "@" not in parts.netloc and not parts.query and not parts.fragment):
        raise ValueError(f"it must read {shape}, without user, query or fragment")
    return url
