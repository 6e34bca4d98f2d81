"""What operators meet at night: servers that answer and refuse, wrong secrets, disks that are full, roles that changed.

A scenario is a fault, given as a context manager that breaks something and mends it again, and the words by which the
product must name it. `endured` does the rest: it submits 120 jobs while the fault lasts, waits until `/readyz`,
`medqueue health` or `medqueue doctor` says one of these words (15 s at most), mends it, and sees every job succeed.

To add one: write the fault (an example is in `redis_server.py`), then a test of three lines beside the others:

    def test_a_replica(operated: Operated, report: Report) -> None:
        endured(operated.arena, report, "O Redis became a replica", operated.redis.replica(), words=["read_only"])

A fault of servers that `operated` does not have needs a fixture of its own: `opened_arena` with other settings.
"""
