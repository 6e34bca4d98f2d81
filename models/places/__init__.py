"""Places such as hospitals and doctors, ranked by an exact rule: distance, opening hours, urgency and earlier visits.

Nothing is learnt, and nothing here depends on pipelines or manifests: see models.pipelines.place_search for these.
"""

from models.places.files import FileUnusable, Place, read_places
from models.places.opening_hours import Schedule, read_hours
from models.places.ranking import Found, Places, Ranked, Urgency, Wanted, Weights

__all__ = [
    "FileUnusable",
    "Found",
    "Place",
    "Places",
    "Ranked",
    "Schedule",
    "Urgency",
    "Wanted",
    "Weights",
    "read_hours",
    "read_places",
]
