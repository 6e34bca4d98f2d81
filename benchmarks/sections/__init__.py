"""What is measured, section by section. A new section is a module here and a line in SECTIONS."""

from benchmarks.sections.batches import BATCH_IMAGES, BATCH_ROWS
from benchmarks.sections.bulk import BULK
from benchmarks.sections.half_load import HALF_LOAD
from benchmarks.sections.idle import IDLE
from benchmarks.sections.kinds import BATCHES_OF_KINDS
from benchmarks.sections.many_clients import MANY_CLIENTS
from benchmarks.sections.searches import SEARCHES
from benchmarks.sections.section import Section
from benchmarks.sections.webhooks import WEBHOOKS

SECTIONS: tuple[Section, ...] = (
    MANY_CLIENTS,
    IDLE,
    HALF_LOAD,
    BULK,
    WEBHOOKS,
    BATCH_ROWS,
    BATCH_IMAGES,
    *BATCHES_OF_KINDS,
    SEARCHES,
)

__all__ = ["SECTIONS", "Section"]
