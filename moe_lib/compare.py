"""Is one model better than another? Paired differences over splits, with intervals."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t
from sklearn.linear_model import LogisticRegression

from moe_lib.checks import check_array, check_int
from moe_lib.data import PatchDataset
from moe_lib.splits import Splits

STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0)  # C of logistic regression


@dataclass(frozen=True)
class Difference:
    """How much better the first of two models is, over splits that both saw.

    Attributes
    ----------
    mean : float
        Mean of the paired differences.
    low, high : float
        95 % interval that allows for the overlap of the splits.
    wins, num_splits : int
        On how many of the splits the first one is better.
    """

    mean: float
    low: float
    high: float
    wins: int
    num_splits: int

    @property
    def verdict(self) -> str:
        """``better``, ``worse`` or ``open``: what the interval supports."""
        return "better" if self.low > 0 else "worse" if self.high < 0 else "open"


def paired_difference(
    first: ArrayLike, second: ArrayLike, *, num_train: int, num_test: int
) -> Difference:
    """Compare two models that were trained and tested on the same splits.

    Random splits of one set of originals overlap, so that their results vary less than
    those of fresh data would. The interval is that of Student's t with the variance
    multiplied by 1 + S num_test / num_train, S the number of splits.

    Parameters
    ----------
    first, second : array, shape [S]
        One number for each split, S >= 2.
    num_train, num_test : int
        Sizes of the two sides (>= 1).

    Raises
    ------
    TypeError, ValueError
        If an argument breaks these rules.

    References
    ----------
    Nadeau and Bengio (2003), "Inference for the generalization error".
    """
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    check_array("first", a, num_axes=1)
    check_array("second", b, num_axes=1)
    check_int("num_train", num_train, at_least=1)
    check_int("num_test", num_test, at_least=1)
    if a.shape != b.shape or len(a) < 2:
        raise ValueError(
            f"first and second must be of one length of at least 2, got {len(a)} "
            f"and {len(b)}"
        )
    gain = a - b
    spread = np.sqrt((1 / len(gain) + num_test / num_train) * gain.var(ddof=1))
    half = float(t.ppf(0.975, len(gain) - 1) * spread)
    mean = float(gain.mean())
    return Difference(mean, mean - half, mean + half, int((gain > 0).sum()), len(gain))


def logistic_accuracy(splits: Splits) -> float:
    """Return the test accuracy of a converged logistic regression.

    It has the decision functions of a single linear expert, and a convex loss: what
    training can get out of them. The strength of its penalty is chosen on the
    validation set.
    """

    def arrays(side: PatchDataset) -> tuple[np.ndarray, np.ndarray]:
        return side.x.flatten(1).numpy(), side.y.numpy()

    train, validation, test = map(
        arrays, (splits.train, splits.validation, splits.test)
    )
    models = [LogisticRegression(C=c, max_iter=5000).fit(*train) for c in STRENGTHS]
    best = max(models, key=lambda model: model.score(*validation))
    return float(best.score(*test))
