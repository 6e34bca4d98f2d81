"""Tenants take turns in claims: nobody's flood is before another's job, by an independent reckoning of the rule."""

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest

from service.accounts import Principal
from service.catalog import PublishedModel
from service.crypto import Keyring
from service.db import Database
from service.jobs import execution, submission
from service.jobs.execution import FIRST_IN_RING, Claim
from service.lifecycle import Priority
from tests import factories
from tests.fakes import MemoryBlobStore


@dataclass
class Ward:
    """Several tenants with jobs of one model, and who was served last."""

    database: Database
    model: PublishedModel
    callers: dict[UUID, Principal]
    last: UUID = FIRST_IN_RING
    waiting: dict[UUID, list[UUID]] = field(default_factory=dict)  # in rank order, by tenant

    def submit(self, tenant: UUID, jobs: int, **values: Any) -> list[UUID]:
        """Jobs of a tenant, in the order in which they arrive."""
        with self.database.transaction() as work:
            new = [factories.new_job(self.callers[tenant], self.model, **values)] * jobs
            ids = [accepted.id for accepted in submission.submit(work, new)]
        self.waiting.setdefault(tenant, []).extend(ids)
        return ids

    def weigh(self, tenant: UUID, weight: int) -> None:
        """Give a tenant a weight."""
        with self.database.statement() as work:
            work.execute(
                "UPDATE tenant SET weight = %(weight)s WHERE id = %(id)s", {"weight": weight, "id": tenant}
            )

    def claim(self, limit: int) -> Claim:
        """A claim that goes on where the last one ended."""
        with self.database.statement() as work:
            claim = execution.claim(
                work,
                model_version_id=self.model.id,
                limit=limit,
                owner="w1",
                lease_s=30.0,
                retries_first=False,
                after=self.last,
            )
        self.last = claim.last_tenant or self.last
        return claim

    def served(self, limit: int) -> list[UUID]:
        """The tenant of each job of a claim, sorted."""
        return sorted(job.tenant_id for job in self.claim(limit).jobs)


@pytest.fixture
def ward(database: Database, blobs: MemoryBlobStore, keyring: Keyring) -> Ward:
    callers = [factories.principal(database, keyring, tenant=f"ward-{number}") for number in range(6)]
    model = factories.published(database, blobs)
    return Ward(database, model, {caller.tenant_id: caller for caller in callers})


def test_a_job_behind_another_tenants_flood_is_in_the_first_claim(ward: Ward) -> None:
    loud, quiet, *_ = ward.callers
    ward.submit(loud, 500, priority=Priority.STAT)
    (job,) = ward.submit(quiet, 1)
    assert job in {each.lease.id for each in ward.claim(16).jobs}


def test_a_claim_is_full_when_more_may_be_left(ward: Ward) -> None:
    loud, quiet, *_ = ward.callers
    ward.submit(loud, 21)
    assert [ward.claim(8).is_full for _ in range(3)] == [True, True, False]
    ward.submit(loud, 9)
    ward.submit(quiet, 1)
    assert [ward.claim(8).is_full for _ in range(2)] == [True, False]


def test_a_claim_of_one_job_goes_to_the_other_tenant_next(ward: Ward) -> None:
    loud, quiet, *_ = ward.callers
    ward.submit(loud, 50)
    ward.claim(1)
    (job,) = ward.submit(quiet, 1)
    assert [each.lease.id for each in ward.claim(1).jobs] == [job]


def test_what_a_tenant_leaves_goes_to_the_others(ward: Ward) -> None:
    loud, quiet, *_ = ward.callers
    ward.submit(loud, 50)
    ward.submit(quiet, 3)
    assert ward.served(16) == sorted([loud] * 13 + [quiet] * 3)


def test_weights_are_shares(ward: Ward) -> None:
    first, second, third, *_ = ward.callers
    ward.weigh(second, 3)
    for tenant in (first, second, third):
        ward.submit(tenant, 60)
    served = [tenant for _ in range(8) for tenant in ward.served(5)]
    assert [served.count(tenant) for tenant in (first, second, third)] == [8, 24, 8]


def test_an_odd_place_goes_round(ward: Ward) -> None:
    one, other, *_ = ward.callers
    for tenant in (one, other):
        ward.submit(tenant, 30)
    served = [tenant for _ in range(4) for tenant in ward.served(3)]
    assert served.count(one) == served.count(other) == 6


def test_a_tenants_own_jobs_keep_their_order(ward: Ward) -> None:
    one, other, *_ = ward.callers
    routine = ward.submit(one, 4)
    stat = ward.submit(one, 2, priority=Priority.STAT)
    ward.submit(other, 20)
    claimed = [job.lease.id for _ in range(3) for job in ward.claim(4).jobs if job.tenant_id == one]
    assert claimed == stat + routine


def test_a_tenant_whose_jobs_are_all_too_late_takes_no_turn(ward: Ward) -> None:
    late, other, *_ = ward.callers
    ward.submit(late, 20)
    with ward.database.statement() as work:
        work.execute("UPDATE job SET deadline_at = now() - interval '1 s'")
    ward.submit(other, 20)
    assert ward.served(8) == [other] * 8


def test_claims_at_the_same_time_are_full_and_share_no_job(ward: Ward) -> None:
    for tenant in ward.callers:
        ward.submit(tenant, 40)
    with ThreadPoolExecutor(6) as claimants:
        claims = list(claimants.map(lambda _: ward.claim(8), range(12)))
    ids = [job.lease.id for claim in claims for job in claim.jobs]
    assert len(ids) == len(set(ids))
    assert all(claim.is_full for claim in claims if claim.jobs)


@pytest.mark.parametrize("seed", range(8))
def test_claims_are_those_of_an_independent_reckoning(ward: Ward, seed: int) -> None:
    chance = random.Random(seed)
    tenants = sorted(ward.callers)
    weights = {tenant: chance.choice([1, 1, 2, 5]) for tenant in tenants}
    for tenant, weight in weights.items():
        ward.weigh(tenant, weight)
    for _ in range(12):
        for tenant in chance.sample(tenants, 2):
            ward.submit(tenant, chance.choice([1, 3, 9, 30]))
        limit, after = chance.choice([1, 2, 5, 16, 40]), ward.last
        longer = -(-limit // execution.TURNS)
        turns = turns_of(ward.waiting, {each: weights[each] * longer for each in tenants}, after)[:limit]
        claim = ward.claim(limit)
        expected = {job for tenant in tenants for job in ward.waiting.get(tenant, [])[: turns.count(tenant)]}
        assert {job.lease.id for job in claim.jobs} == expected
        assert claim.last_tenant == (turns[-1] if turns else None)
        assert claim.is_full == (len(turns) == limit)
        for tenant in tenants:
            ward.waiting[tenant] = ward.waiting.get(tenant, [])[turns.count(tenant) :]


def turns_of(waiting: dict[UUID, list[UUID]], weights: dict[UUID, int], after: UUID) -> Sequence[UUID]:
    """Whose turn it is, one job after the other, until nobody has one left."""
    ring = sorted(
        (tenant for tenant, jobs in waiting.items() if jobs), key=lambda each: (each <= after, each)
    )
    left = {tenant: len(waiting[tenant]) for tenant in ring}
    turns: list[UUID] = []
    while any(left.values()):
        for tenant in ring:
            taken = min(weights[tenant], left[tenant])
            left[tenant] -= taken
            turns += [tenant] * taken
    return turns
