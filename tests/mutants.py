"""Wrong science, one small bug each, and the unit test that must notice it.

A mutant is planted in a copy of the library; the tree stays as it is. The copy is
without the compiled loops, which tests/test_native.py compares with what is mutated
here, and without the shape checker: a test must see a wrong number by itself.
"""

import io
import shutil
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from tests.processes import call

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Mutant:
    """Put ``new`` in place of ``old`` in a module; ``test`` is ``file::name``."""

    name: str
    module: str
    old: str
    new: str
    test: str

    def __str__(self):
        return self.name


def plant(mutant, folder):
    """Write a copy of the library, with the mutant if there is one."""
    copy = folder / "moe_lib"
    left_out = shutil.ignore_patterns("_native*", "__pycache__", "*.c")
    shutil.copytree(ROOT / "moe_lib", copy, ignore=left_out)
    if mutant is not None:
        path = copy / f"{mutant.module}.py"
        source = path.read_text()
        if (found := source.count(mutant.old)) != 1:
            raise ValueError(f"{mutant}: {mutant.module} has its text {found} times")
        path.write_text(source.replace(mutant.old, mutant.new))


def verdict(folder, tests):
    """Run tests on the copy in ``folder``: ``survived``, ``killed`` or what went wrong.

    Killed means that an assertion failed. Any other error proves nothing.
    """
    return call(_verdict, str(folder), tests)


def _verdict(folder, tests):
    import pytest
    from hypothesis import Phase, settings

    faults = []

    class Listener:
        def pytest_sessionstart(self):  # after tests/conftest.py
            settings.register_profile("first", phases=[Phase.explicit, Phase.generate])
            settings.load_profile("first")

        def pytest_exception_interact(self, call):
            faults.append(call.excinfo)

    options = ["-x", "--disable-plugin-autoload", "--assert=plain", "--no-header"]
    options += ["-p", "no:cacheprovider", "-o", f"pythonpath={folder}"]
    options += ["-o", "addopts=--import-mode=importlib"]
    with redirect_stdout(io.StringIO()) as said, redirect_stderr(said):
        status = pytest.main(
            [*options, *(str(ROOT / "tests" / test) for test in tests)], [Listener()]
        )
    if status == pytest.ExitCode.OK:
        return "survived"
    asserted = (AssertionError, pytest.fail.Exception)
    if status == pytest.ExitCode.TESTS_FAILED and faults[0].errisinstance(asserted):
        return "killed"
    return said.getvalue()


MUTANTS = (
    # The router
    Mutant(
        "gate without softmax",
        "router",
        "probs = logits.softmax(dim=-1)",
        "probs = logits",
        "test_router.py::test_route_equals_the_loop",
    ),
    Mutant(
        "noise in the gate",
        "router",
        "probs = logits.softmax(dim=-1)",
        "probs = scores.softmax(dim=-1)",
        "test_router.py::test_noise_moves_the_choice_and_nothing_else",
    ),
    Mutant(
        "no noise in the choice",
        "router",
        "scores = logits if noise is None else logits + noise",
        "scores = logits",
        "test_router.py::test_zero_logits_share_examples_evenly",
    ),
    Mutant(
        "gate without gradient",
        "router",
        "gate_value = probs.gather(",
        "gate_value = probs.detach().gather(",
        "test_train.py::test_every_used_expert_moves_by_the_learning_rate_and_the_"
        "router_sums_to_zero",
    ),
    Mutant(
        "gradient in the chosen column of the router only",
        "router",
        "probs = logits.softmax(dim=-1)",
        "mine = torch.nn.functional.one_hot(expert_index, logits.shape[-1]).bool()\n"
        "    probs = torch.where(mine, logits, logits.detach()).softmax(dim=-1)",
        "test_router.py::test_router_gradient_equals_the_closed_form_and_sums_to_zero",
    ),
    Mutant(
        "router reads the first patch",
        "model",
        "routing = route_patch_sum(patch_sum,",
        "routing = route_patch_sum(x[..., 0, :],",
        "test_model.py::test_mixture_equals_the_loop",
    ),
    Mutant(
        "router reads the mean of the patches",
        "data",
        "return self.x.sum(dim=-2)",
        "return self.x.mean(dim=-2)",
        "test_data.py::test_patch_sum_is_the_sum_over_patches",
    ),
    Mutant(
        "router does not start at zero",
        "model",
        "torch.zeros(len(self.seeds), dim, config.num_experts)",
        "torch.ones(len(self.seeds), dim, config.num_experts)",
        "test_model.py::test_initial_filters_are_normal_and_the_router_is_zero",
    ),
    # The experts
    Mutant(
        "output without the gate",
        "model",
        "routing.gate_value * expert_output",
        "expert_output + 0 * routing.gate_value",
        "test_model.py::test_mixture_equals_the_loop",
    ),
    Mutant(
        "square for cube",
        "experts",
        "lambda z: z * z * z, lambda z: 3 * z * z",
        "lambda z: z * z, lambda z: 2 * z",
        "test_experts.py::test_activation_and_derivative_equal_the_loop",
    ),
    Mutant(
        "cube of the sum of patches",
        "model",
        'if model.config.activation == "linear":',
        "if True:",
        "test_model.py::test_mixture_equals_the_loop",
    ),
    Mutant(
        "mean over patches and filters",
        "experts",
        "output[run][rows] = act.value(responses).view(len(patches), -1).sum(1)",
        "output[run][rows] = act.value(responses).view(len(patches), -1).mean(1)",
        "test_experts.py::test_outputs_and_gradients_equal_the_loop",
    ),
    Mutant(
        "gradient in every expert",
        "experts",
        "grad_weight[run, expert].addmm_(slope.T, flat)",
        "grad_weight[run].add_(slope.T @ flat)",
        "test_experts.py::test_an_expert_without_examples_has_gradient_zero",
    ),
    Mutant(
        "initial weights without sigma_0",
        "model",
        "torch.stack(draws) * config.init_scale",
        "torch.stack(draws)",
        "test_model.py::test_initial_filters_are_normal_and_the_router_is_zero",
    ),
    # The loss
    Mutant(
        "loss without the label",
        "losses",
        "-logsigmoid(y * output)",
        "-logsigmoid(output)",
        "test_losses.py::test_loss_and_gradient_equal_the_loop",
    ),
    Mutant(
        "loss with the sign of the label turned",
        "losses",
        "-logsigmoid(y * output)",
        "-logsigmoid(-y * output)",
        "test_losses.py::test_loss_and_gradient_equal_the_loop",
    ),
    Mutant(
        "load balancing without the factor M",
        "losses",
        "return num_experts * (share",
        "return (share",
        "test_losses.py::test_load_balancing_is_one_where_probabilities_are_even",
    ),
    # Training
    Mutant(
        "one norm for all experts",
        "optim",
        "torch.linalg.matrix_norm(scaled, keepdim=True)",
        "torch.linalg.vector_norm(scaled)",
        "test_optim.py::test_each_run_and_expert_moves_by_exactly_the_learning_rate",
    ),
    Mutant(
        "gradient not normalised",
        "optim",
        "p.sub_(scaled / norm.clamp(min=1),",
        "p.sub_(p.grad,",
        "test_optim.py::test_a_step_equals_the_loop",
    ),
    Mutant(
        "learning rates swapped",
        "train",
        "[model.router_weight], lr=config.router_lr",
        "[model.router_weight], lr=config.expert_lr",
        "test_train.py::test_the_paper_s_optimisers",
    ),
    Mutant(
        "noise drawn once",
        "train",
        "step=step,",
        "step=0,",
        "test_train.py::test_training_a_mixture_equals_the_loop",
    ),
    Mutant(
        "one step too few",
        "train",
        "range(config.steps)",
        "range(config.steps - 1)",
        "test_train.py::test_history_of_a_mixture_has_a_row_for_each_step_and_run",
    ),
    Mutant(
        "one batch order for all epochs",
        "rng",
        'key=philox_key(seed, "batches"), step=epoch',
        'key=philox_key(seed, "batches"), step=0',
        "test_rng.py::test_orders_are_permutations_of_their_own",
    ),
    Mutant(
        "one seed for all runs",
        "router",
        "philox_key(seed, stream) for seed in seeds",
        "philox_key(seeds[0], stream) for _ in seeds",
        "test_router.py::test_noise_of_a_run_depends_on_its_seed_only",
    ),
    # The data
    Mutant(
        "centre and feature swapped",
        "data",
        "y[:, None] * alpha * signals.feature[cluster]\n"
        "    x[role == PatchRole.CENTER] = beta * signals.center[cluster]",
        "y[:, None] * alpha * signals.center[cluster]\n"
        "    x[role == PatchRole.CENTER] = beta * signals.feature[cluster]",
        "test_data.py::test_each_patch_is_what_its_role_says",
    ),
    Mutant(
        "feature with the sign of the label turned",
        "data",
        "y[:, None] * alpha * signals.feature",
        "-y[:, None] * alpha * signals.feature",
        "test_data.py::test_each_patch_is_what_its_role_says",
    ),
    Mutant(
        "noise cluster may be the cluster",
        "data",
        "torch.randint(1, k_max,",
        "torch.randint(0, k_max,",
        "test_data.py::test_hidden_labels_are_in_range_and_the_clusters_differ",
    ),
    Mutant(
        "noise over d, not over its root",
        "data",
        "config.sigma_p / d**0.5",
        "config.sigma_p / d",
        "test_data.py"
        "::test_gaussian_patches_have_standard_deviation_sigma_p_over_root_d",
    ),
    Mutant(
        "patches in order",
        "data",
        "torch.rand(n, p, generator=generator).argsort(dim=1)",
        "torch.arange(p).expand(n, p)",
        "test_data.py::test_positions_are_shuffled_uniformly",
    ),
    Mutant(
        "test data are training data",
        "data",
        'make_generator(seed, f"{split}_data")',
        'make_generator(seed, "train_data")',
        "test_data.py::test_train_and_test_share_signals_and_nothing_else",
    ),
    # What is measured
    Mutant(
        "entropy of experts in clusters",
        "metrics",
        "counts = counts.double()\n",
        "counts = counts.double().mT\n",
        "test_metrics.py::test_entropy_equals_the_loop",
    ),
    Mutant(
        "an output of 0 is right",
        "metrics",
        "(y * output > 0)",
        "(y * output >= 0)",
        "test_metrics.py::test_accuracy_counts_an_output_of_zero_as_an_error",
    ),
    Mutant(
        "deviation with ddof 1",
        "runs",
        "known.std(correction=0)",
        "known.std(correction=1)",
        "test_recipes.py"
        "::test_a_summary_is_the_mean_and_the_population_deviation_over_seeds",
    ),
    Mutant(
        "table of the training set",
        "runs",
        "seeds, evaluate(model, test_data), evaluate",
        "seeds, evaluate(model, train_data), evaluate",
        "test_recipes.py::test_rows_are_those_of_train_and_evaluate",
    ),
    Mutant(
        "specialists by size, whatever the sign",
        "diagnostics",
        "filters.amax(dim=2)",
        "filters.abs().amax(dim=2)",
        "test_diagnostics.py::test_alignments_equal_the_loop",
    ),
    Mutant(
        "hidden from the other part",
        "diagnostics",
        'if hidden_from == "experts":',
        'if hidden_from == "router":',
        "test_diagnostics.py::test_hiding_a_patch_equals_a_loop_that_skips_it",
    ),
    # The authors' recipe
    Mutant(
        "late early stop does not wait",
        "authors_train",
        'recipe.early_stop == "late" and step > LATE',
        'recipe.early_stop == "late"',
        "test_authors_train.py::test_the_late_early_stop_waits",
    ),
    Mutant(
        "early stop on the last loss, not on the best",
        "authors_train",
        "best = torch.minimum(best, seen)",
        "best = seen",
        "test_authors_train.py::test_the_early_stop_remembers_the_best_loss",
    ),
    Mutant(
        "clean accuracy of the training set",
        "cells",
        "clean = evaluate_recipe(model, test_data)",
        "clean = evaluate_recipe(model, train_data)",
        "test_experiments.py::test_a_cell_says_what_training_and_evaluation_say",
    ),
    # The theory
    Mutant(
        "ceiling twice as low",
        "theory",
        "return share / 8",
        "return share / 4",
        "test_theory.py::test_ceilings_of_the_settings",
    ),
    Mutant(
        "ceiling by the strengths of centres",
        "theory",
        "additive_error_bound(config.alpha, config.gamma)",
        "additive_error_bound(config.alpha, config.beta)",
        "test_theory.py::test_ceilings_of_the_settings",
    ),
    Mutant(
        "ties are right",
        "theory",
        "(y * output <= 0)",
        "(y * output < 0)",
        "test_theory.py::test_configuration_error_equals_the_loop",
    ),
    Mutant(
        "too few nodes of the choice",
        "smoothing",
        "leggauss((num_experts + 1) // 2)",
        "leggauss(max(1, num_experts // 3))",
        "test_smoothing.py::test_probabilities_equal_adaptive_quadrature",
    ),
    Mutant(
        "gate in place of the choice",
        "stages",
        "yield weight, router, self.dispatch(chosen)\n            if step",
        "yield weight, router, self.dispatch(gate)\n            if step",
        "test_stages.py::test_dispatch_is_the_mean_over_beta",
    ),
    # Real data
    Mutant(
        "an original on two sides",
        "splits",
        "return dict(zip(SHARES, parts, strict=True))",
        "parts[2] = np.append(parts[2], parts[0][0])\n"
        "    return dict(zip(SHARES, parts, strict=True))",
        "test_realdata.py::test_each_original_is_on_one_side_and_no_side_is_empty",
    ),
    Mutant(
        "originals split in their order",
        "splits",
        "torch.randperm(n, generator=generator).numpy()",
        "np.arange(n)",
        "test_realdata.py::test_originals_are_split_at_random",
    ),
    Mutant(
        "turned copies of the training set in the test set",
        "realdata",
        "made = {side: build(rows) for side, rows in sides.items()}",
        'sides["test"] = sides["train"][: len(sides["test"])]\n'
        "    made = {side: build(rows) for side, rows in sides.items()}",
        "test_realdata.py::test_the_splits_hold_the_turned_copies_of_every_image_once",
    ),
    Mutant(
        "translations of a name on two sides",
        "realdata",
        "table = table[torch.randperm(len(table), generator=source).numpy()[:size]]",
        "table = np.stack([c[torch.randperm(len(c), generator=source).numpy()[:size]] "
        "for c in table.T], axis=1)",
        "test_realdata.py"
        "::test_names_fall_on_one_side_with_all_their_translations[languages1-"
        "categories1-512]",
    ),
    Mutant(
        "features centred by the test set",
        "realdata",
        'mean = x["train"].mean(dim=0)',
        'mean = x["test"].mean(dim=0)',
        "test_realdata.py::test_features_of_names_have_mean_zero_in_training_only",
    ),
    # Networks on real data
    Mutant(
        "batch norm sees the images of other experts",
        "image_mixture",
        "_outputs_of(expert, part)\n"
        "                for expert, part in zip(self.experts, parts, strict=True)",
        "_outputs_of(expert, x)[expert_index == m]\n"
        "                for m, (expert, part) in enumerate(zip(self.experts, parts))",
        "test_networks.py::test_batch_norm_sees_the_expert_s_own_images_only",
    ),
    Mutant(
        "last epoch, not the best",
        "minibatch",
        "if accuracies[-1] > max(accuracies[:-1], default=-1.0):",
        "if True:",
        "test_minibatch.py::test_the_best_epoch_stays",
    ),
    Mutant(
        "best epoch by the training set",
        "minibatch",
        "found = evaluate_images(model, validation,",
        "found = evaluate_images(model, train,",
        "test_minibatch.py::test_fit_equals_the_loop",
    ),
    Mutant(
        "images: best epoch by the test set",
        "image_runs",
        "found = fit(model, splits.train, splits.validation,",
        "found = fit(model, splits.train, splits.test,",
        "test_image_runs.py::test_each_side_has_its_part",
    ),
    Mutant(
        "images: accuracy of the validation set",
        "image_runs",
        "evaluate_images(model, splits.test.to(device)",
        "evaluate_images(model, splits.validation.to(device)",
        "test_image_runs.py::test_each_side_has_its_part",
    ),
    Mutant(
        "weak experts: best epoch by the test set",
        "weak_train",
        "found, _ = _look(model, validation)",
        "found, _ = _look(model, test)",
        "test_weak.py::test_the_epoch_is_chosen_on_the_validation_set",
    ),
    Mutant(
        "weak experts: way of training by the test set",
        "weak_train",
        "key=lambda result: result.validation_accuracy",
        "key=lambda result: result.test_accuracy",
        "test_weak.py::test_the_way_of_training_is_chosen_on_the_validation_sets",
    ),
    Mutant(
        "weak experts: noise in the gate",
        "weak",
        "index = (logits if noise is None else logits + noise).argmax(dim=-1)",
        "logits = logits if noise is None else logits + noise\n"
        "            index = logits.argmax(dim=-1)",
        "test_weak.py::test_noise_moves_the_choice_but_not_the_probabilities",
    ),
    Mutant(
        "penalty chosen on the test set",
        "compare",
        "model.score(*validation)",
        "model.score(*test)",
        "test_compare.py::test_its_penalty_is_chosen_on_the_validation_set",
    ),
    Mutant(
        "interval as if splits did not overlap",
        "compare",
        "(1 / len(gain) + num_test / num_train)",
        "(1 / len(gain))",
        "test_compare.py::test_overlap_widens_the_interval",
    ),
)
