"""Exploration and router learning as equations: who specialises, when routing turns.

The mean field follows Algorithm 1 on infinitely many examples, in the directions of the
signals only. Axes: S runs, M experts, J filters, K clusters.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import comb

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.special import expit, softmax

from moe_lib.checks import check_array, check_choice, check_int
from moe_lib.config import DataConfig, ModelConfig, TrainConfig
from moe_lib.smoothing import routing_probabilities

NODES = 4  # of Gauss-Legendre, for each of alpha, beta and gamma


def coverage_probability(num_clusters: int, num_experts: int) -> float:
    """Return P(every cluster has a specialist) when experts choose at random.

    Initial weights are symmetric, so each expert belongs to each M_k with probability
    1/K, independently of the others: the probability that M throws hit all K boxes.

    Parameters
    ----------
    num_clusters, num_experts : int
        K >= 2 and M >= 1.

    References
    ----------
    The sets M_k: Chen et al. (2022), Section 5. The count is ours.
    """
    check_int("num_clusters", num_clusters, at_least=2)
    check_int("num_experts", num_experts, at_least=1)
    k, m = num_clusters, num_experts
    onto = sum((-1) ** i * comb(k, i) * (k - i) ** m for i in range(k + 1))
    return onto / k**m  # exact integers until here


def router_turn_step(data: DataConfig, model: ModelConfig, train: TrainConfig) -> float:
    """Return the step t_r at which a specialist's logit on its cluster reaches 1.

    t_r = [4 K M / (lambda rho E[beta]^2 E[alpha^3] eta_r eta^3)]^(1/4) with lambda =
    1/2, the slope of the logistic loss at 0, and rho = (1/M)(1 - 1/M), that of the
    softmax gate. It takes for granted that one filter of each expert makes the whole
    step eta from the start, and that routing stays random until then.

    Parameters
    ----------
    data, model, train : DataConfig, ModelConfig, TrainConfig
        K and the strengths; M >= 2; both learning rates, positive.

    Raises
    ------
    ValueError
        If there is one expert only or a learning rate is 0 (then it never turns), or
        the activation is not ``cubic``.

    References
    ----------
    Ours.
    """
    check_int("num_experts", model.num_experts, at_least=2)
    check_choice("activation", model.activation, ("cubic",))
    if not train.expert_lr * train.router_lr > 0:
        raise ValueError(
            "expert_lr and router_lr must be positive, got "
            f"{train.expert_lr} and {train.router_lr}"
        )
    alpha, weight = _nodes(data.alpha)
    beta = sum(data.beta) / 2
    gate = (1 - 1 / model.num_experts) / model.num_experts
    gain = 0.5 * gate * beta**2 * (weight @ alpha**3)
    gain *= train.router_lr * train.expert_lr**3
    return float((4 * data.num_clusters * model.num_experts / gain) ** 0.25)


@dataclass(frozen=True, eq=False)
class MeanField:
    """The path of the mean field, step by step.

    Attributes
    ----------
    expert_feature : array, shape [T + 1, ..., M, J, K]
        <w_mj, v_k>.
    router_center : array, shape [T + 1, ..., M, K]
        <theta_m, c_k>.
    dispatch : array, shape [T + 1, ..., K, M]
        Share of cluster k that goes to expert m under routing noise.
    """

    expert_feature: Float[np.ndarray, "T *S M J K"]
    router_center: Float[np.ndarray, "T *S M K"]
    dispatch: Float[np.ndarray, "T *S K M"]


def mean_field(
    initial: Float[np.ndarray, "*S M J K"],
    data: DataConfig,
    train: TrainConfig,
    *,
    flow: bool = False,
) -> MeanField:
    """Follow cubic experts and their router without sampling noise.

    Signals are orthonormal and labels symmetric, so that in the mean a filter moves
    along the v_k only, by a multiple of its squared alignment, and a router column
    along the c_k only. That closes: M (J K + K) numbers follow each other. Left out
    are the Gaussian patches and whatever a finite training set adds. Means over
    strengths are taken at four nodes each, exact while margins are small: in Setting 1
    router velocities are right to 2 percent until step 150, to 14 percent at step 300.

    Parameters
    ----------
    initial : array
        <w_mj, v_k> before training, shape [..., M, J, K].
    data : DataConfig
        K >= 2 and the strengths.
    train : TrainConfig
        Steps and learning rates.
    flow : bool
        False: the steps of Algorithm 1. True: their limit for short steps, solved as
        ordinary differential equations (for one run).

    Raises
    ------
    ValueError
        If ``initial`` is not finite or does not have K clusters, or the flow of many
        runs is asked for.

    References
    ----------
    Ours: the population gradient of Algorithm 1, Chen et al. (2022).
    """
    check_array("initial", initial, num_axes=3)
    if initial.shape[-1] != data.num_clusters:
        raise ValueError(
            f"initial must have num_clusters = {data.num_clusters} as its last axis, "
            f"got shape {list(initial.shape)}"
        )
    field = _Field(data, train)
    start = initial, np.zeros((*initial.shape[:-2], data.num_clusters))
    if flow:
        if initial.ndim != 3:
            raise ValueError(f"initial must be of one run, got {list(initial.shape)}")
        path = field.flow(*start)
    else:
        path = field.steps(*start)
    return MeanField(*(np.stack(values) for values in zip(*path, strict=True)))


def _nodes(limits: tuple[float, float]) -> tuple[NDArray, NDArray]:
    """Return nodes and weights of the mean over a uniform law."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    low, high = limits
    return low + (high - low) * (nodes + 1) / 2, weights / 2


class _Field:
    """Velocities per step. Inner axes: cluster k, noise cluster l, a, g, sign, b."""

    def __init__(self, data: DataConfig, train: TrainConfig) -> None:
        self.num_steps, self.lrs = train.steps, (train.expert_lr, train.router_lr)
        k = data.num_clusters
        (alpha, of_alpha), (gamma, of_gamma), (self.beta, self.of_beta) = (
            _nodes(limits) for limits in (data.alpha, data.gamma, data.beta)
        )
        self.signal = alpha[:, None, None, None] ** 3
        sign = np.array([1.0, -1.0])[:, None]  # y times epsilon
        self.noise = gamma[:, None, None] ** 3 * sign
        others = (1 - np.eye(k)) / (k * (k - 1))  # of the pairs k, l
        self.mass = others[..., None, None, None, None] * (
            of_alpha[:, None, None, None]
            * of_gamma[:, None, None]
            * np.full((2, 1), 0.5)
            * self.of_beta
        )

    def routing(self, router: NDArray) -> tuple[NDArray, NDArray]:
        """Return p and pi by beta, shape [..., M, K, beta]."""
        logits = router.swapaxes(-1, -2)[..., None, :] * self.beta[:, None]
        both = routing_probabilities(logits), softmax(logits, axis=-1)
        chosen, gate = (np.moveaxis(a, -1, -3) for a in both)
        return chosen, gate

    def dispatch(self, chosen: NDArray) -> NDArray:
        return np.einsum("...mkb,b->...km", chosen, self.of_beta)

    def velocity(
        self, weight: NDArray, chosen: NDArray, gate: NDArray
    ) -> tuple[NDArray, NDArray]:
        cubes = (weight**3).sum(axis=-2)  # [..., M, K]: the answer to a unit signal

        def spread(a: NDArray) -> NDArray:  # [..., M, K, b] to the inner axes
            return a[..., :, None, None, None, None, :]

        pi = spread(gate)
        own = cubes[..., :, None, None, None, None, None]
        foreign = cubes[..., None, :, None, None, None, None]
        margin = own * self.signal + foreign * self.noise  # y f
        pull = self.mass * spread(chosen) * pi * expit(-pi * margin)  # -l' pi
        as_signal = np.einsum("...klagsb->...k", pull * self.signal)
        as_noise = np.einsum("...klagsb->...l", pull * self.noise)
        ascent = 3 * weight**2 * (as_signal + as_noise)[..., None, :]
        length = np.sqrt((ascent**2).sum(axis=(-2, -1), keepdims=True))
        eta, eta_r = self.lrs
        # Every column hears of every choice: pi_q (1[q = m] - pi_m) for the choice q.
        heard = np.einsum("...klagsb->...kb", pull * margin)  # [..., M, K, b]
        total = heard.sum(axis=-3, keepdims=True)
        toward = ((heard - gate * total) * self.beta).sum(axis=-1)
        return eta * ascent / np.where(length > 0, length, 1), eta_r * toward

    def steps(self, weight: NDArray, router: NDArray) -> Iterator[tuple[NDArray, ...]]:
        """Yield both, and the dispatch, before each step and after the last."""
        for step in range(self.num_steps + 1):
            chosen, gate = self.routing(router)
            yield weight, router, self.dispatch(chosen)
            if step < self.num_steps:
                moves = self.velocity(weight, chosen, gate)
                weight, router = weight + moves[0], router + moves[1]

    def flow(self, weight: NDArray, router: NDArray) -> Iterator[tuple[NDArray, ...]]:
        """Yield the same along the solution of the differential equations."""
        cut, shapes = weight.size, (weight.shape, router.shape)

        def unpack(state: NDArray) -> tuple[NDArray, NDArray]:
            return state[:cut].reshape(shapes[0]), state[cut:].reshape(shapes[1])

        def slope(_: float, state: NDArray) -> NDArray:
            weight, router = unpack(state)
            moves = self.velocity(weight, *self.routing(router))
            return np.concatenate([move.ravel() for move in moves])

        solved = solve_ivp(
            slope,
            (0, self.num_steps),
            np.concatenate([weight.ravel(), router.ravel()]),
            t_eval=np.arange(self.num_steps + 1),
            rtol=1e-5,
            atol=1e-8,
        )
        if not solved.success:
            raise RuntimeError(f"the equations were not solved: {solved.message}")
        for state in solved.y.T:
            weight, router = unpack(state)
            chosen, _ = self.routing(router)
            yield weight, router, self.dispatch(chosen)
