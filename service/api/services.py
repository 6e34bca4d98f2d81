"""What the views work with, made once by service.app."""

from dataclasses import dataclass

from service.api.http.auth import Authenticator
from service.api.http.bodies import Bodies
from service.api.http.downloads import Downloads
from service.api.http.turns import Turns
from service.batches.roots import Roots
from service.catalog import Catalog
from service.config import Settings
from service.db import Database
from service.desk import Desk
from service.desk.waiting import Waiting
from service.gate import Gate
from service.quotas import UploadQuotas
from service.storage import BlobStore
from service.uploads import Uploads
from service.webhooks.receivers import Receivers


@dataclass(frozen=True)
class Services:
    """The parts of one API process."""

    settings: Settings
    database: Database
    roots: Roots
    catalog: Catalog
    uploads: Uploads
    quotas: UploadQuotas
    blobs: BlobStore
    gate: Gate
    auth: Authenticator
    desk: Desk
    waiting: Waiting
    turns: Turns
    bodies: Bodies
    receivers: Receivers
    downloads: Downloads
