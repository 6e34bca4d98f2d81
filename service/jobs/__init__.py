"""Jobs: submitting, claiming, ending, canceling, rescuing and reading them.

`submission` takes cases in, `execution` is what a claimant may do, `sweeps` is what time does, `queries` reads.
Every function takes a UnitOfWork and leaves committing to it.
"""
