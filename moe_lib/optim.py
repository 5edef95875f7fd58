"""Normalised gradient descent: every expert moves equally far at every step."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from moe_lib.checks import check_real


class NormalizedGD(torch.optim.Optimizer):
    """Move each expert by ``lr`` along its own gradient's direction.

    W <- W - lr * G / ||G||_F, where the Frobenius norm is taken over the last two axes
    (filters, dimensions): each run and each expert is normalised by itself, whatever
    its load. An expert whose gradient is 0 (no example reached it) stays where it is.

    Parameters
    ----------
    params : iterable of Tensor
        Tensors of shape [..., J, d].
    lr : float
        eta >= 0, finite: the length of a step.

    Raises
    ------
    TypeError, ValueError
        If ``lr`` is not a finite number >= 0 or a tensor has fewer than two axes.

    References
    ----------
    Chen et al. (2022), Algorithm 1.
    """

    def __init__(self, params: Iterable[Tensor], lr: float) -> None:
        check_real("lr", lr)
        super().__init__(params, {"lr": lr})
        for group in self.param_groups:
            for p in group["params"]:
                if p.dim() < 2:
                    raise ValueError(
                        f"params must have at least two axes, got {tuple(p.shape)}"
                    )

    @torch.no_grad()
    def step(  # type: ignore[override]
        self, closure: Callable[[], float] | None = None
    ) -> float | None:
        """Take one step; ``closure``, if given, recomputes and returns the loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    # Scaled by its largest entry first: squares of a tiny
                    # gradient would underflow in float32.
                    largest = p.grad.abs().amax(dim=(-2, -1), keepdim=True)
                    scaled = torch.where(largest > 0, p.grad / largest, 0)
                    norm = torch.linalg.matrix_norm(scaled, keepdim=True)
                    p.sub_(scaled / norm.clamp(min=1), alpha=group["lr"])
        return loss
