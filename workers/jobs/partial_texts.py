"""Has those who follow jobs see the texts that these have written so far.

A text that cannot be stored is left out: the next one holds it, or the result.
"""

from collections.abc import Sequence

from service.accounts import TenantCiphers
from service.db import Database
from service.errors import DatabaseUnavailable
from service.jobs import partial_texts
from workers.jobs.inputs import OpenedJob


class PartialTexts:
    """Seals and stores texts of jobs that are held."""

    def __init__(self, database: Database, ciphers: TenantCiphers) -> None:
        self._database = database
        self._ciphers = ciphers

    def store(self, texts: Sequence[tuple[OpenedJob, str]]) -> None:
        """Store the texts so far, in place of those before."""
        sealed = [(opened.job.lease, self._sealed(opened, text)) for opened, text in texts]
        try:
            with self._database.statement() as work:
                partial_texts.write(work, sealed)
        except DatabaseUnavailable:
            return

    def _sealed(self, opened: OpenedJob, text: str) -> bytes:
        tenant_id = opened.job.tenant_id
        return partial_texts.sealed(self._ciphers.of(tenant_id), tenant_id, opened.job.lease, text)
