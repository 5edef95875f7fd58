"""What can be chosen: the data, the model and the training, every range checked.

Each configuration is a frozen, keyword-only dataclass. A value out of range raises
before any work starts, with a message that names the argument, the rule and the value.
"""

from dataclasses import dataclass
from types import MappingProxyType

from moe_lib.checks import check_choice, check_int, check_range, check_real

ACTIVATION_NAMES = ("linear", "cubic", "relu", "celu", "gelu", "tanh")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The distribution of Definition 3.1 and how many examples to draw from it.

    Parameters
    ----------
    num_clusters : int
        K >= 2 hidden clusters.
    num_patches : int
        P >= 3 patches per example; P - 3 of them are Gaussian noise.
    dim : int
        d >= 2 K, the length of a patch: 2 K orthonormal signals must fit.
    alpha, beta, gamma : tuple[float, float]
        Ranges (0 < low <= high) of the uniform strengths of the feature signal, the
        cluster-centre signal and the feature noise.
    sigma_p : float
        Noise level >= 0: a noise patch has standard deviation ``sigma_p / sqrt(dim)``
        per coordinate, hence a norm of about ``sigma_p``.
    num_train, num_test : int
        Examples (>= 1) in the training set and in the test set.

    Raises
    ------
    TypeError, ValueError
        If a value is of the wrong type or out of its range.

    References
    ----------
    Chen et al. (2022), Definition 3.1.
    """

    num_clusters: int = 4
    num_patches: int = 4
    dim: int = 50
    alpha: tuple[float, float] = (0.5, 2.0)
    beta: tuple[float, float] = (1.0, 2.0)
    gamma: tuple[float, float] = (0.5, 3.0)
    sigma_p: float = 1.0
    num_train: int = 16_000
    num_test: int = 16_000

    def __post_init__(self) -> None:
        check_int("num_clusters", self.num_clusters, at_least=2)
        check_int("num_patches", self.num_patches, at_least=3)
        check_int("dim", self.dim, at_least=1)
        if self.dim < 2 * self.num_clusters:
            raise ValueError(
                f"dim must be at least 2 * num_clusters = {2 * self.num_clusters} "
                f"(that many orthonormal signals must fit), got {self.dim}"
            )
        for name in ("alpha", "beta", "gamma"):
            check_range(name, getattr(self, name))
        check_real("sigma_p", self.sigma_p)
        check_int("num_train", self.num_train, at_least=1)
        check_int("num_test", self.num_test, at_least=1)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The size and kind of a mixture or of a single expert.

    Parameters
    ----------
    num_experts : int
        M >= 1. Read by :class:`moe_lib.model.MoE` only.
    num_filters : int
        J >= 1 filters in each expert.
    activation : str
        One of ``linear``, ``cubic``, ``relu``, ``celu``, ``gelu``, ``tanh``. Outer
        weights are all +1, so a sum of ``relu`` is never negative: it guesses.
    init_scale : float
        sigma_0 >= 0, the standard deviation of the initial filter weights.

    References
    ----------
    Chen et al. (2022), Section 3 (models) and Algorithm 1 (initialisation).
    """

    num_experts: int = 8
    num_filters: int = 16
    activation: str = "cubic"
    init_scale: float = 1e-3

    def __post_init__(self) -> None:
        check_int("num_experts", self.num_experts, at_least=1)
        check_int("num_filters", self.num_filters, at_least=1)
        check_choice("activation", self.activation, ACTIVATION_NAMES)
        check_real("init_scale", self.init_scale)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Algorithm 1: full-batch steps and the two learning rates.

    Parameters
    ----------
    steps : int
        T >= 1 full-batch steps.
    expert_lr : float
        eta >= 0: a step moves each expert that has a gradient by this Frobenius length.
    router_lr : float
        eta_r >= 0 of the router's plain gradient descent.

    References
    ----------
    Chen et al. (2022), Algorithm 1.
    """

    steps: int = 600
    expert_lr: float = 0.01
    router_lr: float = 1.0

    def __post_init__(self) -> None:
        check_int("steps", self.steps, at_least=1)
        check_real("expert_lr", self.expert_lr)
        check_real("router_lr", self.router_lr)


SETTINGS = MappingProxyType(
    {
        "1": DataConfig(gamma=(0.5, 3.0), sigma_p=1.0),
        "2": DataConfig(gamma=(0.5, 3.0), sigma_p=2.0),
        "3": DataConfig(gamma=(0.5, 2.0), sigma_p=1.0),
        "4": DataConfig(gamma=(0.5, 2.0), sigma_p=2.0),
        "verify": DataConfig(
            alpha=(1.0, 2.0), beta=(1.0, 2.0), gamma=(1.0, 2.0), sigma_p=1.0
        ),
    }
)


def setting(name: str | int) -> DataConfig:
    """Return one of the synthetic data settings of the paper.

    Parameters
    ----------
    name : str or int
        ``1`` to ``4`` (Section 6: strong or weak feature noise, low or high Gaussian
        noise) or ``"verify"`` (the data on which the authors check Theorem 4.1).

    Raises
    ------
    ValueError
        If there is no setting of that name.
    """
    check_choice("setting", str(name), tuple(SETTINGS))
    return SETTINGS[str(name)]
