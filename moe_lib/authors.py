"""The authors' code and the paper's Algorithm 1 as two values of one configuration.

Where the two differ, each deviation is a switch of :class:`Recipe`; the rest of the
library is the paper's path only. :mod:`moe_lib.authors_train` trains what is chosen.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from moe_lib.checks import check_choice, check_int, check_real

CHOICES = {
    "loss": ("logistic", "cross_entropy", "double_softmax"),
    "gate": ("softmax", "noisy_softmax", "noisy_logit"),
    "norm": ("frobenius", "sum", "per_tensor", "none"),
    "noise": ("fresh", "fixed", "none"),
    "init": ("normal", "uniform"),
    "early_stop": ("none", "floor", "late"),
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train: every place where the authors' code leaves the paper is a switch.

    The defaults are the paper's Algorithm 1 at our rates. ``PAPER`` and ``AUTHORS`` are
    two values of it, and ``dataclasses.replace(AUTHORS, gate="softmax")`` is a third.

    Parameters
    ----------
    data_scale : float
        All patches are multiplied by this (> 0). Without biases, a factor c is the same
        as ``expert_lr``, ``router_lr`` and ``init_scale`` times c, c^2 and c.
    heads : int
        1: an expert returns one signed number. 2: the first half of the filters speaks
        for label -1, the second for +1, and their difference F is the signed number.
    loss : str
        ``logistic``, log(1 + exp(-yF)); ``cross_entropy`` of two heads, the same
        number; ``double_softmax``, the cross entropy of a softmax that is taken for
        logits: log(1 + exp(-tanh(yF / 2))), which never falls below 0.313.
    gate : str
        What multiplies the chosen expert's output: ``softmax`` of the clean logits h,
        ``noisy_softmax`` of h + r, or the ``noisy_logit`` h + r itself.
    bias : bool
        Whether filters have biases, trained like their weights.
    norm : str
        What divides an expert's gradient: the ``frobenius`` norm of weights and biases
        together, the ``sum`` of both norms, ``per_tensor`` each by its own, or
        ``none``.
    noise : str
        r of the router: ``fresh`` at every step, ``fixed`` (drawn once, also for the
        test set) or ``none``.
    test_noise : bool
        Whether the test accuracy is measured under routing noise.
    init : str
        ``normal``: weights N(0, init_scale^2); ``uniform``: init_scale times
        Uniform(-1, 1) / sqrt(d), the default of ``torch.nn.Conv1d``. Biases likewise.
    init_scale : float
        sigma_0 >= 0.
    expert_lr : float
        eta >= 0.
    router_lr : float
        eta_r >= 0.
    adam : bool
        Train by Adam instead of (normalised) gradient descent.
    weight_decay : float
        Of Adam, >= 0.
    steps : int
        At most so many full-batch steps.
    load_balancing : float
        Weight of M sum_m (share of examples of m) (mean noisy logit of m).
    early_stop : str
        ``floor``: stop where the loss exceeds its minimum by 0.02, or is at most 0.314
        without being a new minimum; ``late``: only the first of these, after 500 steps.
    ddof : int
        0 or 1, of standard deviations over runs.

    Raises
    ------
    TypeError, ValueError
        If a value is out of range, or two switches contradict each other.

    References
    ----------
    Chen et al. (2022), Algorithm 1 and Section 6, and the code published with it.
    """

    data_scale: float = 1.0
    heads: int = 1
    loss: str = "logistic"
    gate: str = "softmax"
    bias: bool = False
    norm: str = "frobenius"
    noise: str = "fresh"
    test_noise: bool = False
    init: str = "normal"
    init_scale: float = 1e-3
    expert_lr: float = 0.01
    router_lr: float = 1.0
    adam: bool = False
    weight_decay: float = 0.0
    steps: int = 600
    load_balancing: float = 0.0
    early_stop: str = "none"
    ddof: int = 0

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            check_choice(name, getattr(self, name), choices)
        for name in ("init_scale", "expert_lr", "router_lr", "weight_decay"):
            check_real(name, getattr(self, name))
        check_real("load_balancing", self.load_balancing)
        check_real("data_scale", self.data_scale, positive=True)
        check_int("steps", self.steps, at_least=1)
        for name, value, allowed in (
            ("heads", self.heads, (1, 2)),
            ("ddof", self.ddof, (0, 1)),
        ):
            check_int(name, value, at_least=allowed[0])
            if value > allowed[1]:
                raise ValueError(f"{name} must be at most {allowed[1]}, got {value}")
        for name in ("bias", "test_noise", "adam"):
            if not isinstance(getattr(self, name), bool):
                got = getattr(self, name)
                raise TypeError(f"{name} must be True or False, got {got!r}")
        for wrong, message in self._contradictions():
            if wrong:
                raise ValueError(message)

    def _contradictions(self) -> list[tuple[bool, str]]:
        loss, norm, noise = self.loss, self.norm, self.noise
        return [
            (
                self.heads == 2 and loss == "logistic",
                "loss must be cross_entropy or double_softmax where heads = 2 (the "
                "logistic loss reads one signed output), got 'logistic'",
            ),
            (
                self.heads == 1 and loss != "logistic",
                f"loss must be logistic where heads = 1 (a softmax needs two outputs), "
                f"got {loss!r}",
            ),
            (
                norm in ("sum", "per_tensor") and not self.bias,
                "norm must be frobenius or none without bias (one tensor has one "
                f"norm), got {norm!r}",
            ),
            (
                self.adam and norm != "none",
                f"norm must be none where Adam sets the step length, got {norm!r}",
            ),
            (
                self.weight_decay > 0 and not self.adam,
                f"weight_decay must be 0 without Adam, got {self.weight_decay}",
            ),
            (
                noise == "none" and self.gate != "softmax",
                f"gate must be softmax without noise (the noisy ones read it), "
                f"got {self.gate!r}",
            ),
            (
                noise == "none" and self.test_noise,
                "test_noise must be False where noise is none, got True",
            ),
            (
                self.early_stop == "floor" and loss != "double_softmax",
                f"early_stop must be none or late unless loss is double_softmax (0.314 "
                f"is just above its floor), got 'floor' with {loss!r}",
            ),
        ]


#: The paper's Algorithm 1, at our rates.
PAPER = Recipe()
#: The authors' code behind their table, for mixtures.
AUTHORS = Recipe(
    data_scale=10.0,
    heads=2,
    loss="double_softmax",
    gate="noisy_logit",
    bias=True,
    norm="sum",
    test_noise=True,
    init="uniform",
    expert_lr=1e-3,
    router_lr=0.1,
    steps=501,
    early_stop="floor",
)
#: The authors' code behind their records of the entropy: another notebook.
AUTHORS_ENTROPY = replace(
    AUTHORS, noise="fixed", norm="per_tensor", early_stop="none", ddof=1
)
#: The authors' code for single experts (linear ones at a rate of 0.003 or 0.001).
AUTHORS_SINGLE = replace(
    AUTHORS,
    loss="cross_entropy",
    gate="softmax",
    norm="none",
    test_noise=False,
    init_scale=1.0,
    expert_lr=0.01,
    adam=True,
    weight_decay=5e-4,
    steps=801,
    early_stop="late",
)
#: The two by name.
RECIPES: Mapping[str, Recipe] = MappingProxyType({"paper": PAPER, "authors": AUTHORS})
