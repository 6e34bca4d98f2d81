"""Models made without a part of the images, and what they answer to it."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.training.chest_xrays import Split

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Fitted = TypeVar("Fitted")


def without_each(split: Split, folds: Ints, make: Callable[[Split, int], Fitted]) -> list[Fitted]:
    """What `make` gives of the images outside of each fold, and of the fold's number."""
    made = []
    for fold in range(int(folds.max()) + 1):
        made.append(make(split.where(folds != fold), fold))
        print(f"fitted without fold {fold + 1} of {int(folds.max()) + 1}", flush=True)
    return made


def held_out(
    models: Sequence[Fitted], answers: Callable[[Fitted, Tensor], Floats], images: Tensor, folds: Ints
) -> Floats:
    """What each image is answered [n] by the model that was made without its fold."""
    found = np.zeros(len(images))
    for fold, model in enumerate(models):
        found[folds == fold] = answers(model, images[torch.from_numpy(folds == fold)])
    return found
