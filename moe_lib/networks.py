"""Networks for small images: the three kinds of the paper's Table 2.

The two deep ones are the usual variants for images of 32 or 16 pixels a side, with the
names of layers of kuangliu/pytorch-cifar. First weights are torch's default: build
under :func:`moe_lib.rng.drawing_from` to choose their seed.

Axes: n images, C channels, H and W pixels.
"""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, relu

from moe_lib.checks import check_int


def _check_sizes(num_classes: int, in_channels: int) -> None:
    check_int("num_classes", num_classes, at_least=2)
    check_int("in_channels", in_channels, at_least=1)


class CNN(nn.Module):
    """Two convolutions, each with ReLU and max-pooling, and two full layers.

    Parameters
    ----------
    num_classes : int
        At least 2.
    in_channels : int
        C >= 1.
    image_size : int
        H = W >= 4.
    channels : int
        Of both convolutions, >= 1; the paper's first has 64.
    hidden : int
        Width of the first full layer, >= 1.

    Raises
    ------
    TypeError, ValueError
        If a value is not an integer or out of its range.

    References
    ----------
    Chen et al. (2022), reproducibility sheet: two convolutions (3 to 64 channels,
    kernel 3, padding 1), pooling by 2, two full layers. The widths of the second
    convolution and of the full layers are ours: the published code has no CNN.
    """

    def __init__(
        self,
        *,
        num_classes: int = 10,
        in_channels: int = 3,
        image_size: int = 32,
        channels: int = 64,
        hidden: int = 128,
    ) -> None:
        super().__init__()
        _check_sizes(num_classes, in_channels)
        check_int("image_size", image_size, at_least=4)
        check_int("channels", channels, at_least=1)
        check_int("hidden", hidden, at_least=1)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.fc1 = nn.Linear(channels * (image_size // 4) ** 2, hidden)
        self.fc2 = nn.Linear(hidden, num_classes)

    def forward(self, x: Float[Tensor, "n C H W"]) -> Float[Tensor, "n classes"]:
        """Return one number for each class."""
        x = max_pool2d(relu(self.conv1(x)), 2)
        x = max_pool2d(relu(self.conv2(x)), 2)
        return self.fc2(relu(self.fc1(x.flatten(1))))


def _conv(
    width: int, out: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Conv2d:
    padding = kernel // 2
    return nn.Conv2d(width, out, kernel, stride, padding, groups=groups, bias=False)


def _shortcut(width: int, out: int, stride: int) -> nn.Sequential:
    """Return the identity, or where that does not fit a convolution of kernel 1."""
    if stride == 1 and width == out:
        return nn.Sequential()
    return nn.Sequential(_conv(width, out, 1, stride), nn.BatchNorm2d(out))


class BasicBlock(nn.Module):
    """Two convolutions beside a shortcut: what a small ResNet is made of."""

    def __init__(self, width: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(width, out, 3, stride), nn.BatchNorm2d(out)
        self.conv2, self.bn2 = _conv(out, out, 3), nn.BatchNorm2d(out)
        self.shortcut = _shortcut(width, out, stride)

    def forward(self, x: Float[Tensor, "n C H W"]) -> Float[Tensor, "n C2 H2 W2"]:
        """Return the images of the next layer."""
        branch = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
        return relu(branch + self.shortcut(x))


def _stage(width: int, out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(BasicBlock(width, out, stride), BasicBlock(out, out, 1))


class ResNet18(nn.Module):
    """ResNet-18 for small images: a 3x3 stem, and no pooling behind it.

    Parameters
    ----------
    num_classes : int
        At least 2.
    in_channels : int
        C >= 1.
    channels : int
        Of the stem, >= 1; each further stage has twice as many.

    Raises
    ------
    TypeError, ValueError
        If a value is not an integer or out of its range.

    References
    ----------
    He, Zhang, Ren, Sun (2016), "Deep residual learning for image recognition".
    """

    def __init__(
        self, *, num_classes: int = 10, in_channels: int = 3, channels: int = 64
    ) -> None:
        super().__init__()
        _check_sizes(num_classes, in_channels)
        check_int("channels", channels, at_least=1)
        self.conv1, self.bn1 = _conv(in_channels, channels, 3), nn.BatchNorm2d(channels)
        self.layer1 = _stage(channels, channels, 1)
        self.layer2 = _stage(channels, 2 * channels, 2)
        self.layer3 = _stage(2 * channels, 4 * channels, 2)
        self.layer4 = _stage(4 * channels, 8 * channels, 2)
        self.linear = nn.Linear(8 * channels, num_classes)

    def forward(self, x: Float[Tensor, "n C H W"]) -> Float[Tensor, "n classes"]:
        """Return one number for each class."""
        x = relu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.linear(x.mean(dim=(2, 3)))


class InvertedResidual(nn.Module):
    """Widen, convolve each channel by itself, narrow: the block of MobileNetV2."""

    def __init__(self, width: int, out: int, expansion: int, stride: int) -> None:
        super().__init__()
        wide = expansion * width
        self.conv1, self.bn1 = _conv(width, wide, 1), nn.BatchNorm2d(wide)
        self.conv2 = _conv(wide, wide, 3, stride, groups=wide)
        self.bn2 = nn.BatchNorm2d(wide)
        self.conv3, self.bn3 = _conv(wide, out, 1), nn.BatchNorm2d(out)
        self.shortcut = _shortcut(width, out, 1) if stride == 1 else None

    def forward(self, x: Float[Tensor, "n C H W"]) -> Float[Tensor, "n C2 H2 W2"]:
        """Return the images of the next layer."""
        branch = relu(self.bn2(self.conv2(relu(self.bn1(self.conv1(x))))))
        branch = self.bn3(self.conv3(branch))
        return branch if self.shortcut is None else branch + self.shortcut(x)


# Expansion, channels, blocks, stride of the first block; strides 1 come early here
MOBILENET = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class MobileNetV2(nn.Module):
    """MobileNetV2 for small images: the first strides are 1.

    As in the usual variant for CIFAR, ReLU stands for ReLU6, a shortcut that changes
    the number of channels has a convolution, and nothing is dropped out.

    Parameters
    ----------
    num_classes : int
        At least 2.
    in_channels : int
        C >= 1.
    channels : int
        Of the first convolution, at least 2; the other layers widen with it.

    Raises
    ------
    TypeError, ValueError
        If a value is not an integer or out of its range.

    References
    ----------
    Sandler, Howard, Zhu, Zhmoginov, Chen (2018), "MobileNetV2: inverted residuals and
    linear bottlenecks".
    """

    def __init__(
        self, *, num_classes: int = 10, in_channels: int = 3, channels: int = 32
    ) -> None:
        super().__init__()
        _check_sizes(num_classes, in_channels)
        check_int("channels", channels, at_least=2)
        self.conv1, self.bn1 = _conv(in_channels, channels, 3), nn.BatchNorm2d(channels)
        blocks, width, last = [], channels, 40 * channels
        for expansion, usual, count, stride in MOBILENET:
            out = usual * channels // 32
            for place in range(count):
                step = stride if place == 0 else 1
                blocks.append(InvertedResidual(width, out, expansion, step))
                width = out
        self.layers = nn.Sequential(*blocks)
        self.conv2, self.bn2 = _conv(width, last, 1), nn.BatchNorm2d(last)
        self.linear = nn.Linear(last, num_classes)

    def forward(self, x: Float[Tensor, "n C H W"]) -> Float[Tensor, "n classes"]:
        """Return one number for each class."""
        x = self.layers(relu(self.bn1(self.conv1(x))))
        x = relu(self.bn2(self.conv2(x)))
        return self.linear(x.mean(dim=(2, 3)))
