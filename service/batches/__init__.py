"""Batches: overnight scoring of one source, planned in chunks, scored, joined and accounted for.

`windows` and `recurrence` are rules of time, `opening` accepts batches, `steps` is work on a whole source, `chunks` on
a part of it, `control` is what callers may do, `sweeps` runs on a timer, `schedules` opens batches at set times,
`queries` reads. Every function takes a UnitOfWork and leaves the commit to its owner.
"""
