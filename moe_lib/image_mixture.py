"""A mixture whose experts are whole networks, of which each sees its own images only.

Axes: n images, C channels, H and W pixels, M experts.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from moe_lib.checks import check_choice, check_int, check_shape
from moe_lib.rng import drawing_from
from moe_lib.router import route

ROUTERS = ("linear", "conv", "lot")
ROUTER_PATCH = 4  # side of the patches that the router "conv" reads


@dataclass(frozen=True, eq=False)
class MixtureOutput:
    """What a mixture returns.

    Attributes
    ----------
    output : Tensor
        Gate times what the chosen expert says, shape [n, classes].
    expert_index : Tensor
        The chosen expert, shape [n].
    probs : Tensor
        pi, the softmax of the noise-free logits, shape [n, M].
    """

    output: Float[Tensor, "n classes"]
    expert_index: Int[Tensor, " n"]
    probs: Float[Tensor, "n M"]


class Lots(nn.Module):
    """A router that learns nothing: a hash of the pixels draws the expert.

    Parameters
    ----------
    pixels, num_experts : int
        At least 1.
    """

    direction: Tensor

    def __init__(self, pixels: int, num_experts: int) -> None:
        super().__init__()
        self.num_experts = num_experts
        # So long that the digits behind the point of a product are as good as random
        self.register_buffer("direction", 1e4 * torch.randn(pixels).double())

    def forward(self, x: Float[Tensor, "n pixels"]) -> Float[Tensor, "n M"]:
        """Return 0 for the expert of each image and -inf for the others."""
        share = (x.double() @ self.direction) % 1
        lot = (self.num_experts * share).long()
        logits = x.new_full((len(x), self.num_experts), -torch.inf)
        return logits.scatter(1, lot[:, None], 0.0)


class ImageMixture(nn.Module):
    """A mixture of networks with top-1 routing: each image goes through one of them.

    An expert sees its own images only, so its batch normalisation is of these alone. An
    expert without images is not called, and gets no gradient. A single image in
    training would be its own mean: the expert takes it as in evaluation.

    Parameters
    ----------
    build : callable
        Makes one expert: a module from images [n, C, H, W] to [n, classes].
    num_experts : int
        M >= 1.
    in_channels : int
        C >= 1.
    image_size : int
        H = W >= 1; for the router ``conv`` a multiple of 4.
    router : str
        ``linear`` in all pixels, or ``conv``: a convolution of kernel and stride 4,
        summed over positions. Both have a bias, and start at 0. Or ``lot``, to compare:
        nothing is learned, each image has an expert by lot, for good, and gate 1.
    generator : torch.Generator
        Source of the first weights of all experts, and of the lots.

    Raises
    ------
    TypeError, ValueError
        If an argument breaks these rules.

    References
    ----------
    Chen et al. (2022), Section 3 for the gate, Section 6 for networks as experts. The
    authors' router probably is ``conv``. Their experts see the images of other experts
    too, as zeros, and their gate is the softmax of the noisy logits.
    """

    def __init__(
        self,
        build: Callable[[], nn.Module],
        *,
        num_experts: int = 4,
        in_channels: int = 3,
        image_size: int = 32,
        router: str = "linear",
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        check_int("num_experts", num_experts, at_least=1)
        check_int("in_channels", in_channels, at_least=1)
        check_int("image_size", image_size, at_least=1)
        check_choice("router", router, ROUTERS)
        if router == "conv" and image_size % ROUTER_PATCH:
            raise ValueError(
                f"image_size must be a multiple of {ROUTER_PATCH} for the router conv, "
                f"got {image_size}"
            )
        self.image_shape = (in_channels, image_size, image_size)
        with drawing_from(generator):
            self.experts = nn.ModuleList(build() for _ in range(num_experts))
            pixels = in_channels * image_size**2
            self.router: nn.Module
            if router == "linear":
                self.router = nn.Linear(pixels, num_experts)
            elif router == "conv":
                patch = ROUTER_PATCH
                self.router = nn.Conv2d(in_channels, num_experts, patch, patch)
            else:
                self.router = Lots(pixels, num_experts)
        for parameter in self.router.parameters():
            nn.init.zeros_(parameter)

    def forward(
        self,
        x: Float[Tensor, "n C H W"],
        router_noise: Float[Tensor, "n M"] | None = None,
    ) -> MixtureOutput:
        """Send each image to one expert and return the gated output.

        Parameters
        ----------
        x : Tensor
            At least one image, shape [n, C, H, W].
        router_noise : Tensor, optional
            r of Algorithm 1, Uniform[0, 1), shape [n, M]: added for the choice only.
            None, as at test time, means no noise.

        Raises
        ------
        ValueError
            If there is no image, or a shape does not fit.
        """
        check_int("number of images in x", len(x), at_least=1)
        check_shape("x", x, (len(x), *self.image_shape))
        check_shape("router_noise", router_noise, (len(x), len(self.experts)))
        noise = None if router_noise is None else router_noise[None]
        routing = route(self._logits(x)[None], noise)
        expert_index, gate = routing.expert_index[0], routing.gate_value[0]
        output = gate[:, None] * self._expert_outputs(x, expert_index)
        return MixtureOutput(output, expert_index, routing.probs[0])

    def _logits(self, x: Tensor) -> Tensor:
        if isinstance(self.router, nn.Conv2d):
            return self.router(x).sum(dim=(2, 3))
        return self.router(x.flatten(1))

    def _expert_outputs(self, x: Tensor, expert_index: Tensor) -> Tensor:
        """Sort the images by expert, call each expert once, and undo the sorting."""
        order = expert_index.argsort(stable=True)
        experts = torch.arange(len(self.experts), device=x.device)
        counts = (expert_index[:, None] == experts).sum(dim=0)
        parts = x[order].split(counts.tolist())  # waits for a GPU
        outputs = torch.cat(
            [
                _outputs_of(expert, part)
                for expert, part in zip(self.experts, parts, strict=True)
                if len(part)
            ]
        )
        return torch.empty_like(outputs).index_copy(0, order, outputs)


def _outputs_of(expert: nn.Module, images: Tensor) -> Tensor:
    if len(images) > 1 or not expert.training:
        return expert(images)
    expert.eval()
    try:
        return expert(images)
    finally:
        expert.train()
