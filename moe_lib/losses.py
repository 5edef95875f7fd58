"""What training minimises."""

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid


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
