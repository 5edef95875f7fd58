"""The mixture as it is most easily written: every expert looks at every example."""

import torch
from torch import nn
from torch.nn import functional


class DenseMixture(nn.Module):
    """A cubic mixture of the same function as one run of :class:`moe_lib.model.MoE`.

    Each expert is a convolution over the whole data set; examples that the router sent
    elsewhere are zeros in its input. So the cost grows with the number of experts, and
    each of them holds a masked copy of the data until the backward pass.
    """

    def __init__(self, model):
        super().__init__()
        [filters], [theta] = model.expert_weight.detach(), model.router_weight.detach()
        self.router = _convolution(theta.T)
        self.experts = nn.ModuleList(_convolution(w) for w in filters)

    def forward(self, x, noise):
        """Return F(x), shape [n], of flat examples [n, 1, P*d] and noise [n, M]."""
        logits = self.router(x).sum(dim=-1)
        chosen = (logits + noise).argmax(dim=-1)
        dispatch = functional.one_hot(chosen, len(self.experts)).to(x)
        outputs = [
            (expert(x * sent[:, None, None]) ** 3).sum(dim=(1, 2))
            for expert, sent in zip(self.experts, dispatch.T, strict=True)
        ]
        return (logits.softmax(dim=-1) * torch.stack(outputs, dim=1)).sum(dim=1)

    def step(self, x, y, noise, config):
        """Take one step of Algorithm 1 and return the loss before it."""
        self.zero_grad()
        loss = functional.softplus(-y * self(x, noise)).mean()
        loss.backward()
        with torch.no_grad():
            self.router.weight -= config.router_lr * self.router.weight.grad
            for expert in self.experts:
                grad = expert.weight.grad
                expert.weight -= config.expert_lr * grad / grad.norm().clamp(min=1e-30)
        return loss.detach()


def _convolution(filters):
    """Return the convolution with filters [J, d] that steps from patch to patch."""
    num_filters, dim = filters.shape
    layer = nn.Conv1d(1, num_filters, dim, stride=dim, bias=False).to(filters)
    layer.weight.data.copy_(filters[:, None])
    return layer
