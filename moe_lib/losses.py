"""What training minimises."""

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import logsigmoid, one_hot


def logistic_loss(
    output: Float[Tensor, "S n"], y: Float[Tensor, "*runs n"]
) -> Float[Tensor, " S"]:
    """Return the mean over examples of log(1 + exp(-y F(x))), for each run.

    Parameters
    ----------
    output : Tensor
        F(x), shape [S, n].
    y : Tensor
        Labels -1 or +1, shape [n] or [S, n].

    References
    ----------
    Chen et al. (2022), Section 3.
    """
    return -logsigmoid(y * output).mean(dim=-1)


def load_balancing_loss(
    probs: Float[Tensor, "*runs n M"], expert_index: Int[Tensor, "*runs n"]
) -> Float[Tensor, "*runs"]:
    """Return M sum_m (share of the examples of m) (mean probability of m), in (0, M].

    It is 1 where the shares or the mean probabilities are even.

    Parameters
    ----------
    probs : Tensor
        pi, shape [..., n, M]: rows sum to 1. The gradient flows through these only.
    expert_index : Tensor
        The chosen expert in [0, M), shape [..., n].

    References
    ----------
    Fedus, Zoph, Shazeer (2022), "Switch Transformers", equations (4) to (6), with
    weight 1.
    """
    num_experts = probs.shape[-1]
    share = one_hot(expert_index, num_experts).to(probs).mean(dim=-2)
    return num_experts * (share * probs.mean(dim=-2)).sum(dim=-1)
