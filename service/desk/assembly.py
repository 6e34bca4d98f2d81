"""Composes the desk of a process from the parts that it shares with the rest of the process."""

from functools import partial

from service.catalog import Catalog
from service.config import Settings
from service.db import Database
from service.desk.callbacks import Callbacks
from service.desk.desk import Desk
from service.desk.intake import Intake
from service.desk.waiting import Waiting
from service.jobs import admission
from service.jobs.admission import Admission, Tally
from service.jobs.artifacts import ArtifactStore
from service.shared_refusals import refused_by_each
from service.uploads import Uploads
from service.webhooks.receivers import Receivers


def desk_over(
    settings: Settings,
    database: Database,
    *,
    catalog: Catalog,
    uploads: Uploads,
    receivers: Receivers,
    waiting: Waiting,
    artifact_store: ArtifactStore,
) -> Desk:
    """The desk that every front door of this process calls."""
    callbacks = Callbacks(database, receivers)
    intake = Intake(catalog, uploads, callbacks, most_bytes=settings.max_input_bytes)
    bounds = Admission(
        partial(_count_queued, database),
        most=settings.max_queued,
        most_of_tenant=settings.max_queued_per_tenant,
    )
    return Desk(
        database,
        catalog=catalog,
        intake=intake,
        admission=bounds,
        waiting=waiting,
        artifact_store=artifact_store,
        workers=partial(refused_by_each, settings.redis_url),
    )


def _count_queued(database: Database) -> Tally:
    """Count queued jobs, for all submits until the next count."""
    with database.statement() as work:
        return admission.queued(work)
