"""Before anything is measured: both systems give the right answers, and have done so often enough to be warm."""

import json
import math

from benchmarks import cases
from benchmarks.plan import Plan
from benchmarks.sections.many_clients import Record, fetch_all, submit_all
from benchmarks.system import LoadFailed, System
from benchmarks.wire import ask

WARM_UP_SEED = 2_000
TOLERANCE = 1e-5  # the manifest's own


def warm_up(system: System, plan: Plan) -> None:
    """Check the golden cases, then run some hundred jobs. Raises LoadFailed."""
    check_answers(system)
    inputs = cases.inputs(plan.warm_up_jobs, plan.seed + WARM_UP_SEED)
    bodies, record = [cases.body(case) for case in inputs], Record()
    submit_all(system, bodies, plan.clients, record)
    system.wait_for(record.ids)
    fetch_all(system, plan.clients, record)


def check_answers(system: System) -> None:
    """Score the golden cases; each must be answered as the bundle says. Raises LoadFailed."""
    for case in cases.golden_cases():
        record, body = Record(), cases.body(json.dumps(case.input).encode())
        submit_all(system, [body], 1, record)
        system.wait_for(record.ids)
        result = json.loads(ask(system.port, system.read(record.ids[0])).body)["result"]
        right = all(
            math.isclose(result["probabilities"][name], expected, abs_tol=TOLERANCE)
            for name, expected in case.probabilities.items()
        )
        if result["label"] != case.label or not right:
            raise LoadFailed(f"{system.title} answers a golden case wrongly")
