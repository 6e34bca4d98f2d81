"""What training scripts of images share."""

import base64
from io import BytesIO
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's usual name

Pixels = NDArray[np.uint8]


class Residual(nn.Module):
    """Two 3x3 convolutions around a short cut (He et al. 2016); halves the side when `halve`. Starts as the short cut alone."""

    def __init__(self, inputs: int, outputs: int, *, halve: bool) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(2) if halve else nn.Identity()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1, bias=False)
        nn.init.zeros_(self.second_norm.weight)

    def forward(self, images: Tensor) -> Tensor:
        images = self.pool(images)
        inner = F.relu(self.first_norm(self.first(images)))
        return F.relu(self.skip(images) + self.second_norm(self.second(inner)))


class ColourStatistics(nn.Module):
    """Colour and sharpness of images [n,3,H,W] in 0..1, whatever they show -> [n,14]. H and W are multiples of 4."""

    def forward(self, images: Tensor) -> Tensor:
        mean = images.mean((2, 3))
        centred = images - mean[:, :, None, None]
        spread = (centred * centred).mean((2, 3)).sqrt()
        edges = (images[:, :, 0], images[:, :, -1], images[:, :, :, 0], images[:, :, :, -1])
        border = torch.stack([edge.mean(2) for edge in edges]).mean(0)
        turned = centred[:, [1, 2, 0]]
        shared = (centred * turned).mean((2, 3)) / (spread * spread[:, [1, 2, 0]] + 1e-3)
        grey = images.mean(1, keepdim=True)
        return torch.cat(
            [mean, (spread + 0.02).log(), border, shared, _edges(grey), _edges(F.avg_pool2d(grey, 4))], 1
        )


def _edges(grey: Tensor) -> Tensor:
    """How much neighbours differ: [n,1,H,W] -> [n,1]."""
    down = (grey[:, :, 1:] - grey[:, :, :-1]).abs().mean((2, 3))
    across = (grey[:, :, :, 1:] - grey[:, :, :, :-1]).abs().mean((2, 3))
    return (down + across + 1e-3).log()


def as_feed(images: Pixels) -> Tensor:
    """Images uint8 [n,H,W,C] as the pipeline feeds them: float32 [n,C,H,W] in 0..1."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def colour_histograms(images: Pixels, levels: int = 4) -> NDArray[np.float64]:
    """Features of a baseline [n, levels^3]: the share of pixels of each image uint8 [n,H,W,3] that have each colour."""
    coarse = images.astype(np.int64) * levels // 256
    colours = (coarse * np.array([levels**2, levels, 1])).sum(3).reshape(len(images), -1)
    return np.stack([np.bincount(each, minlength=levels**3) / each.size for each in colours])


def png_input(image: Image.Image) -> dict[str, str]:
    """The input of a golden case: a PNG file in base64."""
    return file_input(image, "PNG")


def file_input(image: Image.Image, kind: str, **options: Any) -> dict[str, str]:
    """The input of a golden case: a file of a kind that Pillow writes, in base64."""
    file = BytesIO()
    image.save(file, kind, **options)
    return {"data": base64.b64encode(file.getvalue()).decode()}
