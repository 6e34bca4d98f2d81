"""Batches: overnight work over one source, opened, planned in chunks, scored, closed and accounted for.

`windows` and `recurrence` are rules of time, `opening` takes batches in, `steps` is work on a whole source, `chunks` on
a piece of it, `control` is what callers may do, `sweeps` is what the clock triggers, `schedules` opens batches by the
clock, `queries` reads. Every function takes a UnitOfWork and leaves committing to it.
"""
