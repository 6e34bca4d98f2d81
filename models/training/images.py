"""What training scripts of images share."""

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's usual name


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
