"""Jobs: submitting, claiming, ending, canceling, rescuing and reading them.

`submission` accepts jobs, `execution` is what a claimant may do, `sweeps` runs on a timer, `queries` reads.
Every function takes a UnitOfWork and leaves the commit to its owner.
"""
