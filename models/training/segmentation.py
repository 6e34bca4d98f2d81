"""A small U-Net for instances in images, and its training: what a segmentation's `train.py` and others may share."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's usual name

from models.training.images import ColourStatistics
from models.training.novelty import ForeignOdds
from models.training.quick_products import quick_products

Labels = NDArray[np.int32]
Floats = NDArray[np.float32]

SIDE = 128  # of the crops that it learns from, in pixels
NEAR = 5  # two instances are close if both are in a square of this side
FAR = 0.12  # the share of crops of an image that are far smaller, where it allows that
REFLECTED = 48  # pixels of an image's reflection, beyond which no instance is thought to reach


class UNet(nn.Module):
    """Images float32 [n,3,H,W] -> logits [n,2,H,W]: of lying in an instance, and of its centre (see centres).

    H and W are multiples of 16. A U-Net (Ronneberger et al. 2015) whose skip connections are added and not joined, as in
    LinkNet (Chaurasia and Culurciello 2017), which halves the work. Beside the channels it sees the root of their mean, in
    which dim nuclei beside bright ones are better seen.
    """

    def __init__(self, widths: Sequence[int] = (16, 32, 64, 96, 128)) -> None:
        super().__init__()
        pairs = list(pairwise(widths))
        self.stem = _convolution(4, widths[0])
        self.down = nn.ModuleList(_Stage(*pair) for pair in pairs)
        self.narrow = nn.ModuleList(nn.Conv2d(wide, slim, 1) for slim, wide in pairs)
        self.up = nn.ModuleList(_convolution(slim, slim) for slim, _ in pairs)
        self.heads = nn.Conv2d(widths[0], 2, 1)
        nn.init.constant_(self.heads.bias, -2.0)  # type: ignore[arg-type]  # it has one

    def forward(self, images: Tensor) -> Tensor:
        return self.maps(images)[0]

    def maps(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The logits, and what the three deepest stages give, [n,widths[k],H/2^k,W/2^k]."""
        root = (images.mean(1, keepdim=True).clamp(0, 1) + 1e-3).sqrt()
        found = [self.stem(torch.cat([images, root], 1))]
        for stage in self.down:
            found.append(stage(F.max_pool2d(found[-1], 2)))
        deepest = found[-3:]
        value = found.pop()
        for narrow, up in zip(reversed(self.narrow), reversed(self.up), strict=True):
            larger = F.interpolate(narrow(value), scale_factor=2.0, mode="bilinear", align_corners=False)
            value = up(larger + found.pop())
        return self.heads(value), deepest


class _Stage(nn.Module):
    """Two convolutions, the second around a short cut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = _convolution(inputs, outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, images: Tensor) -> Tensor:
        images = self.first(images)
        return F.relu(images + self.norm(self.second(images)))


def _convolution(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


# What it learns from


def centres(labels: Labels) -> Floats:
    """For each pixel of an instance its distance to the edge of it, over the largest there: float32 [H,W] in 0..1, 0 outside.

    The image is continued by its reflection, so that an instance that its edge cuts is none that ends there.
    """
    wide = np.pad(labels, REFLECTED, mode="symmetric")
    found = np.zeros(wide.shape, np.float32)
    for number, place in enumerate(ndimage.find_objects(wide), start=1):
        if place is None:
            continue
        inside = np.pad(wide[place] == number, 1)
        distance = ndimage.distance_transform_edt(inside)[1:-1, 1:-1]
        found[place] = np.maximum(found[place], distance / distance.max())
    return found[REFLECTED:-REFLECTED, REFLECTED:-REFLECTED]


def close(labels: Labels) -> NDArray[np.bool_]:
    """Pixels [H,W] near which two instances are close."""
    most = ndimage.maximum_filter(labels, NEAR)
    least = ndimage.minimum_filter(np.where(labels == 0, np.iinfo(np.int32).max, labels), NEAR)
    return (most > 0) & (least < most)


@dataclass(frozen=True)
class Example:
    """An image to learn from: uint8 [6,H,W] of its three channels, instances, centres and closeness, each from 0 to 255.

    `weight` is how often it is drawn beside others, `zooms` the least and the greatest logarithm of its enlargement, and
    `far` those of a share FAR of its crops, if not None: as if taken at a far lower magnification.
    """

    maps: Tensor
    weight: float
    zooms: tuple[float, float]
    far: tuple[float, float] | None = None

    @classmethod
    def of(
        cls,
        image: NDArray[np.uint8],
        labels: Labels,
        weight: float,
        zooms: tuple[float, float],
        far: tuple[float, float] | None = None,
    ) -> "Example":
        """Of an image uint8 [H,W,3] as the graph sees it, before its scale to 0..1, and its label map [H,W]."""
        targets = np.stack([labels > 0, centres(labels), close(labels)]).astype(np.float32) * 255
        maps = np.concatenate([image.transpose(2, 0, 1), targets.astype(np.uint8)])
        return cls(torch.from_numpy(maps), weight, zooms, far)


def fit(
    examples: Sequence[Example],
    *,
    steps: int,
    batch: int,
    rate: float,
    seed: int,
    steady: float = 0.15,
    start: UNet | None = None,
) -> UNet:
    """Train on crops of SIDE pixels, turned, mirrored, enlarged and recoloured; the mean of the last weights is kept.

    The rate falls after the share `steady` of the steps. Training goes on from the weights of `start`, if given, and then
    computes in bfloat16 what allows that.
    """
    torch.manual_seed(seed)
    chance = np.random.default_rng(seed)
    weights = np.array([each.weight for each in examples])
    network: nn.Module = copy.deepcopy(start or UNet())
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # of modules
    mean = copy.deepcopy(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-3, betas=(0.9, 0.99))
    for step in range(steps):
        along = step / steps
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 40) * _cosine(max(0.0, along - steady) / (1 - steady))
        drawn = chance.choice(len(examples), batch, p=weights / weights.sum())
        crops = torch.stack([_crop(examples[each], chance) for each in drawn])
        images = _recoloured(crops[:, :3]).contiguous(memory_format=torch.channels_last)
        network.train()
        with quick_products(wanted=start is not None):
            logits = network(images)
        loss = _loss(logits.float(), crops[:, 3], crops[:, 4], crops[:, 5])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's
        nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimizer.step()
        _follow(mean, network, min(0.99, (1 + step) / (10 + step)))
        if step % 25 == 24:
            print(f"step {step + 1} of {steps}: loss {loss.item():.3f}", flush=True)
    assert isinstance(mean, UNet)
    return mean.eval()


def _cosine(along: float) -> float:
    return max(0.01, 0.5 * (1 + math.cos(math.pi * along)))


def _follow(mean: nn.Module, network: nn.Module, share: float) -> None:
    """Move the weights of `mean` towards those of `network`, of which they keep `share`."""
    with torch.no_grad():
        for kept, new in zip(mean.state_dict().values(), network.state_dict().values(), strict=True):
            if kept.dtype.is_floating_point:
                kept.mul_(share).add_(new, alpha=1 - share)
            else:
                kept.copy_(new)


def _crop(example: Example, chance: np.random.Generator) -> Tensor:
    """A crop of all maps, float32 [6,SIDE,SIDE] in 0..1."""
    height, width = example.maps.shape[1:]
    far = example.far is not None and chance.random() < FAR
    zoom = math.exp(chance.uniform(*(example.far if far and example.far else example.zooms)))
    angle = chance.uniform(0, 2 * math.pi) if chance.random() < 0.3 else 0.0
    half = 0.45 * SIDE / zoom
    middle = [chance.uniform(min(half, side / 2), max(side - half, side / 2)) for side in (height, width)]
    steps = (torch.arange(SIDE) + 0.5 - SIDE / 2) / zoom
    down, across = torch.meshgrid(
        steps * float(chance.choice([-1, 1])), steps * float(chance.choice([-1, 1])), indexing="ij"
    )
    if chance.random() < 0.5:
        down, across = across, down
    y = math.cos(angle) * down - math.sin(angle) * across + middle[0]
    x = math.sin(angle) * down + math.cos(angle) * across + middle[1]
    top, left = (max(0, int(axis.min()) - 2) for axis in (y, x))
    part = example.maps[:, top : int(y.max()) + 3, left : int(x.max()) + 3][None].float() / 255
    box = int(1 / zoom) if far else 1  # pixels that become one
    part = F.avg_pool2d(part, box)
    sides = box * part.shape[3], box * part.shape[2]
    grid = torch.stack([(x - left) / sides[0] * 2 - 1, (y - top) / sides[1] * 2 - 1], -1)[None]
    return F.grid_sample(part, grid.float(), padding_mode="reflection", align_corners=False)[0]


def _recoloured(images: Tensor) -> Tensor:
    """Images [n,3,H,W] with another gamma, brightness and tint each; some inverted, grey, noisy or blurred."""
    count = len(images)

    def drawn(least: float, most: float, channels: int = 1) -> Tensor:
        return torch.empty(count, channels, 1, 1).uniform_(least, most)

    def some(share: float) -> Tensor:
        return torch.rand(count, 1, 1, 1) < share

    images = images.clamp(0, 1) ** drawn(-0.5, 0.5).exp()
    tint = torch.where(some(0.5), torch.ones(count, 3, 1, 1), drawn(0.85, 1.15, 3))
    images = images * drawn(0.7, 1.15) * tint + drawn(-0.05, 0.08)
    images = torch.where(some(0.05), 1 - images, images)
    images = torch.where(some(0.1), images.mean(1, keepdim=True), images)
    images = images + torch.randn_like(images) * drawn(0, 0.04) * some(0.5)
    blurred = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="reflect"), 3, 1)
    return torch.where(some(0.15), blurred, images).clamp(0, 1)


def _loss(logits: Tensor, inside: Tensor, centre: Tensor, near: Tensor) -> Tensor:
    """Cross entropy of both maps, more where instances are close, and the Dice loss of the first (Milletari et al. 2016)."""
    shares = torch.sigmoid(logits[:, 0])
    pixels = F.binary_cross_entropy_with_logits(logits[:, 0], inside, reduction="none") * (1 + 3 * near)
    shared = (2 * (shares * inside).sum((1, 2)) + 20) / ((shares + inside).sum((1, 2)) + 20)
    middle = F.binary_cross_entropy_with_logits(logits[:, 1], centre, reduction="none") * (
        1 + 2 * inside + 4 * near
    )
    return pixels.mean() + (1 - shared).mean() + 1.5 * middle.mean()


# What is exported


class Segmentation(nn.Module):
    """Images float32 [n,3,H,W] -> probabilities and centres [n,1,H,W], and how probably they are foreign [n,1]."""

    def __init__(self, network: UNet, odds: ForeignOdds) -> None:
        super().__init__()
        self.network = network.eval()
        self.colours = ColourStatistics()
        self.odds = odds

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits, deepest = self.network.maps(images)
        found = torch.sigmoid(logits)
        features = torch.cat([*map(_statistics, deepest), self.colours(images)], 1)
        return found[:, :1], found[:, 1:], self.odds(features)


@torch.no_grad()
def features_of(network: UNet, feeds: Sequence[Tensor]) -> NDArray[np.float64]:
    """What tells images [1,3,H,W] from foreign ones [n,F]: statistics of the three deepest stages, and of the colours."""
    colours = ColourStatistics()
    return np.concatenate(
        [
            torch.cat([*map(_statistics, network.eval().maps(feed)[1]), colours(feed)], 1).double().numpy()
            for feed in feeds
        ]
    )


def _statistics(stage: Tensor) -> Tensor:
    """Mean and spread of each channel [n,C,h,w] -> [n,2C]."""
    mean = stage.mean((2, 3))
    spread = (stage - mean[:, :, None, None]).pow(2).mean((2, 3))
    return torch.cat([mean, (spread + 1e-2).sqrt()], 1)
