"""New versions of a published bundle from new labelled rows: recalibrated, or updated where its graph can be.

Neighbour of models.variants, which makes variants of a bundle without changing what it has learnt.
"""
