"""`medqueue demo`: a tour of the whole service on real cases, on a stack of its own that is gone afterwards.

`steps` is the tour: to add a step, write a function and put it into STEPS.
"""
