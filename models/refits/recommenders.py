"""The refit of a recommender whose graph is linear: its matrices are updated, and its sums of products kept beside them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from models.bundle import Bundle, BundleRefused, Fault
from models.manifest import MODEL
from models.pipelines import Run
from models.refits.linear_recommender import (
    GRAM_NAME,
    Floats,
    assumed_gram,
    gram_bytes,
    gram_of,
    read_gram,
    updated,
)
from models.refits.making import Change
from models.training.recommenders import TOP, Linear, ranked_for

FIGURES = (f"recall@{TOP}", f"nDCG@{TOP}", f"cold recall@{TOP}", f"cold nDCG@{TOP}")


def linear_of(bundle: Bundle) -> Linear:
    """The matrices of the bundle's graph. Raises BundleRefused for a graph of another form."""
    table = bundle.manifest.graph_tables[MODEL]
    try:
        return Linear.of_graph(onnx.load(str(bundle.folder / table.file)))
    except ValueError as error:
        reason = (
            f"{error}, whose scores are products with matrices of items and context: train the model again"
        )
        raise BundleRefused(Fault(table.file, "refit_unsuited", reason)) from None


def known_gram(bundle: Bundle) -> Floats | None:
    """The sums of products of the users before, if the bundle has them."""
    return read_gram((bundle.folder / GRAM_NAME).read_bytes()) if GRAM_NAME in bundle.manifest.files else None


def updated_by(
    bundle: Bundle, model: Linear, items: Floats, context: Floats, *, gram: Floats | None, users: int | None
) -> Change:
    """The update by new users [N,I] and [N,C]. Without a `gram`, the parent counts as trained on as many `users` like these."""
    before = "its sums of products"
    if gram is None:
        assert users is not None
        gram, before = assumed_gram(items, context, users), f"{users} users assumed to be like the new ones"
    path = bundle.manifest.graph_tables[MODEL].file
    return Change(
        said=f"item and context matrices updated by {len(items)} users, after {before}; catalogue and rule unchanged",
        graphs={path: updated(model, gram, items, context).graph()},
        files={GRAM_NAME: gram_bytes(gram + gram_of(items, context))},
    )


def ranked(run: Run, items: Floats, context: Floats) -> Mapping[str, Floats]:
    """The figures of each user [N], by the served graph: see Ranked. NaN where there is none."""

    def score(history: Floats, known: Floats) -> Floats:
        feeds = {"history": history.astype(np.float32), "context": known.astype(np.float32)}
        return np.asarray(run(feeds)["scores"], np.float64)

    found = [ranked_for(score, had, known, TOP) for had, known in zip(items, context, strict=True)]
    return dict(zip(FIGURES, np.array(found).T, strict=True))
