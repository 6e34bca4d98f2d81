"""What finds parts of X-rays: a small network that learns to tell whole images from parts cut out of them.

A part of an X-ray lies as near to whole ones as they do to each other, so no distance finds it. Of images of 28 pixels a part
holds fewer pixels, but of a hospital's file as many as the whole: what is learned must not be that parts are blurred.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's usual name

from models.training.chest_xrays import SIDE, Split
from models.training.grey_changes import Ranges, augment
from models.training.images import Residual
from models.training.novelty import without_exposure

Floats = NDArray[np.float64]

SEED = 40
WHOLE = Ranges(  # how a whole image may look
    even=False, zoom=0.2, stretch=0.1, rotate_deg=10, shift=0.08, gamma=0.3, shading=0.2, contrast=0.35,
    brightness=0.15, blur=0.7, noise=0.02, erase=0.0,
)  # fmt: skip
CUT_OUT = replace(WHOLE, zoom=0.0, stretch=0.0, shift=0.0)  # and a part, which is framed already
SHARES = (0.3, 0.76)  # of each side, that a part has
MIDDLE = 0.4  # of the parts lie near the middle: the lungs without what is around them
NEAR = 0.25  # of the way to the edge
WIDTHS = (8, 16, 32)
DROPOUT = 0.3
EPOCHS = 12
BATCH = 64
LEARNING_RATE = 4e-3
WEIGHT_DECAY = 0.05


class PartNetwork(nn.Module):
    """Images [n,1,28,28] in 0..1 to the log odds [n,1] that they are parts, were these as frequent as whole ones.

    It sees 14 pixels a side, as many as half of a side holds.
    """

    def __init__(self) -> None:
        super().__init__()
        small, middle, large = WIDTHS
        self.body = nn.Sequential(
            nn.Conv2d(1, small, 3, padding=1, bias=False),
            nn.BatchNorm2d(small),
            nn.ReLU(),
            Residual(small, middle, halve=True),
            Residual(middle, large, halve=True),
            nn.Flatten(),
            nn.Dropout(DROPOUT),
        )
        self.head = nn.Linear(large * (SIDE // 8) ** 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        log_odds: Tensor = self.head(self.body(without_exposure(F.avg_pool2d(images, 2))))
        return log_odds


def fit_parts(split: Split, fold: int) -> PartNetwork:
    """A network that knows the images, and parts of them, others in each epoch."""
    torch.manual_seed(SEED + fold)
    network = PartNetwork().train()
    steps = EPOCHS * (len(split) // BATCH)
    optimiser = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=steps, pct_start=0.2)
    are_parts = torch.cat([torch.zeros(BATCH, 1), torch.ones(BATCH, 1)])
    for images in batches(split):
        loss = F.binary_cross_entropy_with_logits(network(wholes_and_parts(images)), are_parts)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimiser.step()
        schedule.step()
    return network.eval()


def batches(split: Split) -> Iterator[Tensor]:
    """Images of each step, reshuffled every epoch; the ragged last batch is left out."""
    for _ in range(EPOCHS):
        order = torch.randperm(len(split))[: len(split) // BATCH * BATCH]
        yield from (split.images[rows] for rows in torch.split(order, BATCH))


def wholes_and_parts(images: Tensor) -> Tensor:
    """[n,1,28,28] -> [2n,1,28,28]: first the wholes, then as many parts.

    Half of the wholes lose the detail that parts of so few pixels lack, and half of the parts gain it.
    """
    low, high = SHARES
    count = len(images)
    shares = low + torch.rand(count) * (high - low)
    reach = torch.where(torch.rand(count, 1) < MIDDLE, NEAR, 1.0)
    coarse = without_detail(images, shares)
    parts = cut(images.roll(1, 0), shares, (torch.rand(count, 2) * 2 - 1) * reach)
    wholes = torch.where(torch.rand(count, 1, 1, 1) < 0.5, coarse, images)
    parts = torch.where(torch.rand(count, 1, 1, 1) < 0.5, parts + images - coarse, parts).clamp(0, 1)
    return torch.cat([augment(wholes, WHOLE), augment(parts, CUT_OUT)])


def cut(images: Tensor, shares: Tensor, places: Tensor) -> Tensor:
    """Of each image the square with this share [n] of each side, enlarged to the image's size.

    Its place [n,2] across and down is -1 at one edge, 0 in the middle and 1 at the other edge.
    """
    grid = torch.zeros(len(images), 2, 3)
    grid[:, 0, 0] = grid[:, 1, 1] = shares
    grid[:, :, 2] = places * (1 - shares)[:, None]
    points = F.affine_grid(grid, list(images.shape), align_corners=False)
    return F.grid_sample(
        images, points, mode="bicubic", padding_mode="border", align_corners=False
    ).clamp(0, 1)  # fmt: skip


def without_detail(images: Tensor, shares: Tensor) -> Tensor:
    """Each image with as few pixels as its share [n] of a side has, enlarged again."""
    found, sides = torch.empty_like(images), (shares * SIDE).round().int()
    for side in sides.unique().tolist():
        small = F.interpolate(
            images[sides == side], size=(side, side), mode="bicubic", antialias=True, align_corners=False
        )
        found[sides == side] = F.interpolate(small, size=(SIDE, SIDE), mode="bicubic", align_corners=False)
    return found.clamp(0, 1)
