"""Makes a fresh installation usable: schema, first tenant and key, bundled models. Safe to run at every start."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from models.bundle import Bundle, BundleRefused, bundled, read_bundle
from models.checking import publishable
from models.manifest import EXTRA_MISSING
from models.release import checked
from service import accounts, master_key, requirements
from service.accounts import DEFAULT_TENANT, Scope
from service.catalog import publishing
from service.config import Settings
from service.crypto import Keyring
from service.db import Database
from service.errors import BundleUnusable
from service.gate import StartRefused
from service.schema import migrate
from service.storage import BlobStore, FsspecBlobStore

ACTOR = "bootstrap"
ADMIN_KEY_FILE = "admin.key"


def _say_nothing(_line: str) -> None:
    """Takes lines that nobody reads."""


class ExtraNotInstalled(BundleUnusable):
    """The bundle needs a library that is not installed. `advice` says which, and how to install it."""

    def __init__(self, detail: str, advice: str) -> None:
        super().__init__(detail)
        self.advice = advice


def bootstrap(
    settings: Settings, *, admin_key: bool = True, progress: Callable[[str], None] = _say_nothing
) -> None:
    """Migrate, make tenant `default`, publish the bundled models; with an admin key in `<data-dir>/admin.key`.

    The folder of a local blob store is made while no model is published; later it must be there. `progress` gets a line
    for each model that is published or skipped.

    Raises SettingInvalid, or StartRefused when the blob store cannot be written.
    """
    migrate(settings.database_url)
    keyring = Keyring(settings.master_key_bytes())
    database = Database(settings.database_url, pool_size=1)
    try:
        ensure_admin(database, keyring, settings.data_dir / ADMIN_KEY_FILE if admin_key else None)
        blobs = FsspecBlobStore(settings.blob_location, makes_root=not _published(database))
        fault = requirements.blob_store(blobs, settings.blob_setting, f"trials/{ACTOR}-{uuid4().hex}")
        if fault is not None:
            raise StartRefused([fault])
        publish_bundles(database, blobs, bundled(), progress)
    finally:
        database.close()


def ensure_admin(database: Database, keyring: Keyring, path: Path | None) -> None:
    """Make the default tenant, and an admin key while its file is missing. The file is readable by its owner only."""
    with database.transaction() as work:
        master_key.verify(work, keyring)
        tenant_id, _ = accounts.ensure_tenant(work, keyring, name=DEFAULT_TENANT, actor=ACTOR)
        if path is None or path.exists():
            return
        issued = accounts.issue_key(
            work, tenant_id=tenant_id, name="admin", scopes=[Scope.ADMIN], actor=ACTOR
        )
        path.touch(mode=0o600)
        path.chmod(0o600)
        path.write_text(issued.token + "\n")


def publish_bundles(
    database: Database, blobs: BlobStore, folders: Iterable[Path], progress: Callable[[str], None]
) -> None:
    """Publish every bundle of these that is not published yet. Raises BundleUnusable.

    Those that are as in the release are not tried again; see models.release. Bundles that need a library which is not
    installed are skipped: they are published by the first start that finds it. `progress` gets a line for each.
    """
    published = _published(database)
    for folder in folders:
        try:
            with _refusals_named(folder):
                bundle = read_bundle(folder)
                if bundle.digest not in published:
                    _publish(database, blobs, checked(bundle), actor=ACTOR)
                    progress(f"published the model {bundle.manifest.name} {bundle.manifest.version}")
        except ExtraNotInstalled as lacking:
            progress(f"skipped the model {folder.name}: {lacking.advice}")


def _published(database: Database) -> set[str]:
    """Digests of all published bundles; none in a fresh installation, which has stored no blob yet."""
    with database.transaction() as work:
        return {row.digest for row in work.execute("SELECT digest FROM model_version")}


def publish_folder(database: Database, blobs: BlobStore, folder: Path, *, actor: str) -> Bundle:
    """Check the bundle in `folder` and publish it. Raises BundleUnusable with every fault found.

    Raises ExtraNotInstalled, which is one, if that is its only fault.
    """
    with _refusals_named(folder):
        bundle = publishable(folder)
    _publish(database, blobs, bundle, actor=actor)
    return bundle


def _publish(database: Database, blobs: BlobStore, bundle: Bundle, *, actor: str) -> None:
    with database.transaction() as work:
        publishing.publish(work, blobs, bundle, actor=actor)


@contextmanager
def _refusals_named(folder: Path) -> Iterator[None]:
    """Turn BundleRefused into BundleUnusable or ExtraNotInstalled, with the name of the bundle."""
    try:
        yield
    except BundleRefused as refused:
        if {fault.code for fault in refused.faults} == {EXTRA_MISSING}:
            advice = refused.faults[0].detail
            raise ExtraNotInstalled(f"{folder.name} cannot be published: {advice}", advice) from None
        raise BundleUnusable(f"{folder.name} cannot be published.\n{refused}") from None
