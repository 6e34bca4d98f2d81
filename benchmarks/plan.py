"""How much of everything a run does."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """Sizes of a run. The defaults make the full form, which ends within a quarter of an hour on two cores."""

    seed: int = 20261122
    warm_up_jobs: int = 500
    clients: int = 16
    jobs: int = 10_000
    repeats: int = 3
    bulk_clients: int = 4
    bulk_jobs: int = 40_000
    bulk_size: int = 500
    webhook_jobs: int = 5_000
    batch_rows: int = 2_000_000
    batch_images: int = 10_000
    batch_cases: int = 20_000
    searches: int = 2_000
    probe_jobs: int = 200
    probe_per_s: float = 20.0
    load_s: float = 10.0
    rest_s: float = 10.0


FULL = Plan()
QUICK = Plan(
    warm_up_jobs=200,
    jobs=2_000,
    repeats=1,
    bulk_jobs=6_000,
    webhook_jobs=1_000,
    batch_rows=200_000,
    batch_images=3_000,
    batch_cases=1_000,
    searches=200,
    probe_jobs=60,
    load_s=3.0,
    rest_s=2.0,
)
