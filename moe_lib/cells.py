"""One configuration of the audit, trained with several seeds."""

from dataclasses import dataclass
from functools import lru_cache

from moe_lib.authors import Recipe
from moe_lib.authors_data import authors_data
from moe_lib.authors_model import RecipeModel
from moe_lib.authors_train import evaluate_recipe, train_recipe
from moe_lib.checks import check_choice, check_int
from moe_lib.config import SETTINGS, ModelConfig, setting
from moe_lib.data import PatchDataset
from moe_lib.runs import data_of_runs, rounded

DATA = ("fresh", "authors")
CURVE_EVERY = 5  # steps between two points of a stored curve


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One configuration, trained with the seeds 0, 1, ...

    Attributes
    ----------
    name : str
        Unique within its experiment.
    setting : str
        Of the data.
    recipe : Recipe
    activation : str
    num_filters : int
        J; of a single expert, all of them.
    single : bool
        A single expert instead of a mixture of eight.
    data : str
        ``fresh``: each seed has data of its own; ``authors``: all seeds share the
        authors' files.
    seeds : int
        How many.
    curves : bool
        Keep the dispatch entropy during training.
    """

    name: str
    setting: str
    recipe: Recipe
    activation: str
    num_filters: int = 16
    single: bool = False
    data: str = "fresh"
    seeds: int = 20
    curves: bool = False

    def __post_init__(self) -> None:
        check_choice("setting", self.setting, tuple(SETTINGS))
        check_choice("data", self.data, DATA)
        ModelConfig(num_filters=self.num_filters, activation=self.activation)
        check_int("seeds", self.seeds, at_least=1)

    def run(self, seeds: range, device: str) -> dict[str, list]:
        """Train with some of the seeds; return one list of values for each quantity.

        Returns
        -------
        dict of list
            By seed: ``test_accuracy`` in percent, as the recipe measures it;
            ``clean_accuracy``, without routing noise; ``train_accuracy``, likewise;
            ``steps`` taken; for a mixture also ``dispatch_entropy`` in nats of the
            training set at the last step, under its noise; ``clean_entropy`` of the
            test set, without noise; ``live_experts`` there. With ``curves``, a list by
            step and seed of the training set's ``entropy_curve``.
        """
        train_data, test_data = cell_data(self.setting, self.data, seeds, device)
        config = ModelConfig(num_filters=self.num_filters, activation=self.activation)
        dim = train_data.x.shape[-1]
        model = RecipeModel(
            self.recipe, config, dim=dim, seeds=seeds, single=self.single
        ).to(device)
        history = train_recipe(model, train_data)
        clean = evaluate_recipe(model, test_data)
        noisy = clean
        if self.recipe.test_noise:
            noisy = evaluate_recipe(model, test_data, noisy=True)
        on_train = evaluate_recipe(model, train_data)
        values: dict[str, list] = {
            "seed": [*seeds],
            "test_accuracy": rounded(100 * noisy.accuracy),
            "clean_accuracy": rounded(100 * clean.accuracy),
            "train_accuracy": rounded(100 * on_train.accuracy),
            "steps": history.steps.tolist(),
        }
        if history.dispatch_entropy is not None:
            assert clean.dispatch_entropy is not None
            assert clean.live_experts is not None
            values["dispatch_entropy"] = rounded(history.dispatch_entropy[-1])
            values["clean_entropy"] = rounded(clean.dispatch_entropy)
            values["live_experts"] = clean.live_experts.tolist()
            if self.curves:
                kept = history.dispatch_entropy[::CURVE_EVERY]
                values["entropy_curve"] = [rounded(step) for step in kept]
        return values


@lru_cache(maxsize=1)  # cells that share data follow one another
def cell_data(
    name: str, data: str, seeds: range, device: str
) -> tuple[PatchDataset, PatchDataset]:
    """Return training and test data: the authors', or one set for each seed."""
    if data == "fresh":
        return data_of_runs(setting(name), seeds, device)
    train_data, test_data = authors_data(name)
    return train_data.to(device), test_data.to(device)
