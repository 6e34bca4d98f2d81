"""Changes to grey pictures for training and for trials: framing, exposure, sharpness, noise.

Each function takes and returns images float32 [n, 1, H, W] in 0..1, and draws for each image on its own from torch's generator.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the field's usual name


@dataclass(frozen=True)
class Ranges:
    """The outer edges of the augmentation; `even` gives every image the full ranges, else each draws a share."""

    even: bool
    zoom: float
    stretch: float
    rotate_deg: float
    shift: float
    gamma: float
    shading: float
    contrast: float
    brightness: float
    blur: float
    noise: float
    erase: float


def augment(images: Tensor, ranges: Ranges) -> Tensor:
    """Change framing, exposure and sharpness. Each image draws how hard it is hit: some stay nearly as they are."""
    severity = torch.ones(len(images)) if ranges.even else torch.rand(len(images))
    images = move(images, ranges, severity)
    severity = severity.view(-1, 1, 1, 1)
    images = expose(images, ranges, severity)
    return erase(degrade(images, ranges, severity), ranges)


def swing(severity: Tensor, reach: float) -> Tensor:
    """Uniform draws in -reach..reach, scaled by severity; shaped like it."""
    return (torch.rand_like(severity) * 2 - 1) * reach * severity


def chance(count: int, probability: float) -> Tensor:
    """Which of the images, bool [count,1,1,1]: each with that probability."""
    return torch.rand(count, 1, 1, 1) < probability


def move(images: Tensor, ranges: Ranges, severity: Tensor) -> Tensor:
    """Mirror, rotate, zoom, stretch and shift."""
    angle = swing(severity, math.radians(ranges.rotate_deg))
    step = torch.exp(swing(severity, ranges.zoom) - severity * ranges.zoom / 4)  # rather closer than farther
    stretch = torch.exp(swing(severity, ranges.stretch))
    flip = torch.where(torch.rand_like(severity) < 0.5, -1.0, 1.0)
    theta = torch.zeros(len(images), 2, 3)
    theta[:, 0, 0] = torch.cos(angle) * step * stretch * flip
    theta[:, 0, 1] = -torch.sin(angle) * step
    theta[:, 1, 0] = torch.sin(angle) * step * flip
    theta[:, 1, 1] = torch.cos(angle) * step / stretch
    theta[:, 0, 2] = swing(severity, 2 * ranges.shift)
    theta[:, 1, 2] = swing(severity, 2 * ranges.shift)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def expose(images: Tensor, ranges: Ranges, severity: Tensor) -> Tensor:
    """Gamma, uneven shading over the field, contrast and brightness."""
    images = images.clamp(0, 1) ** torch.exp(swing(severity, ranges.gamma))
    coarse = swing(severity.expand(-1, 1, 3, 3), ranges.shading) * chance(len(images), 0.5)
    shading = F.interpolate(coarse, size=tuple(images.shape[2:]), mode="bicubic", align_corners=True)
    images = images * (1 + shading) + 0.3 * shading
    mean = images.mean((2, 3), keepdim=True)
    images = mean + (images - mean) * torch.exp(swing(severity, ranges.contrast))
    return (images + swing(severity, ranges.brightness)).clamp(0, 1)


def degrade(images: Tensor, ranges: Ranges, severity: Tensor) -> Tensor:
    """Blur or sharpen every other image, add noise to every other one."""
    line = torch.tensor([0.25, 0.5, 0.25])
    kernel = torch.outer(line, line).view(1, 1, 3, 3)
    blurred = F.conv2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), kernel)
    images = images + (blurred - images) * swing(severity, ranges.blur) * chance(len(images), 0.5)
    level = swing(severity, ranges.noise).abs() * chance(len(images), 0.5)
    return (images + torch.randn_like(images) * level).clamp(0, 1)


def erase(images: Tensor, ranges: Ranges) -> Tensor:
    """Paint one rectangle of an even grey over some images, which are square."""
    n, side = len(images), images.shape[3]
    size = (0.15 + 0.3 * torch.rand(n, 2)) * side
    start = torch.rand(n, 2) * (side - size)
    line = torch.arange(side)
    rows, columns = ((line >= start[:, i : i + 1]) & (line < (start + size)[:, i : i + 1]) for i in (0, 1))
    box = rows[:, None, :, None] & columns[:, None, None, :] & chance(n, ranges.erase)
    return torch.where(box, torch.rand(n, 1, 1, 1), images)
