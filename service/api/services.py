"""What the views work with, made once by service.app."""

from dataclasses import dataclass

from service.api.http.auth import Authenticator
from service.api.http.bodies import Bodies
from service.api.http.waiting import Waiting
from service.api.receivers import Callbacks, Receivers
from service.batches.roots import Roots
from service.catalog import Catalog
from service.combining import Combiner
from service.config import Settings
from service.db import Database
from service.errors import PayloadUnreadable
from service.gate import Gate
from service.jobs.admission import Admission
from service.jobs.artifacts import ArtifactStore
from service.jobs.queries import JobView, Reading
from service.jobs.submission import Accepted, NewJob
from service.storage import BlobStore
from service.uploads import Uploads


@dataclass(frozen=True)
class Services:
    """The parts of one API process."""

    settings: Settings
    database: Database
    roots: Roots
    catalog: Catalog
    uploads: Uploads
    artifacts: ArtifactStore
    blobs: BlobStore
    gate: Gate
    auth: Authenticator
    waiting: Waiting
    bodies: Bodies
    admission: Admission
    receivers: Receivers
    callbacks: Callbacks
    submits: Combiner[NewJob, Accepted]
    reads: Combiner[Reading, JobView | PayloadUnreadable | None]
