"""Cubic experts."""

from moe_lib import dispatch_entropy
from moe_lib.compare import paired_difference
from moe_lib.realdata import babel_names
from moe_lib.weak import WeakConfig
from moe_lib.weak_train import WeakTraining, best_of

seeds = range(10)
common = {"optimizer": "sgd", "lr": 0.016, "epochs": 40}
ways = [WeakTraining(weight_decay=w, **common) for w in (0.01, 0.1)]
models = {
    "single": WeakConfig(),
    "linear": WeakConfig(num_experts=4),
    "cubic": WeakConfig(num_experts=4, activation="cubic"),
}
# --- your turn: `purer`, the experts, "linear" or "cubic", whose dispatch has the lower
# mean entropy in English, Russian, Greek and Arabic
purer = "linear"
# --- check
assert purer in ("linear", "cubic")
entropy, gain = {}, {}
for codes in ("en ru el ar", "es uk ka he"):
    splits = [babel_names(codes.split(), seed=s) for s in seeds]
    sizes = {"num_train": len(splits[0].train), "num_test": len(splits[0].test)}
    result = {k: best_of(splits, m, ways, seeds=seeds) for k, m in models.items()}
    accuracy = {k: 100 * r.test_accuracy.numpy() for k, r in result.items()}
    d = paired_difference(accuracy["cubic"], accuracy["single"], **sizes)
    print(f"{codes}: cubic mixture minus single {d.mean:+.1f}, {d.verdict};", end=" ")
    for kind in ("linear", "cubic"):
        mean = dispatch_entropy(result[kind].dispatch_counts).mean().item()
        entropy[codes, kind] = mean
        print(f"{kind} entropy {mean:.2f}", end=" ")
    print()
    gain[codes] = d
assert entropy["en ru el ar", purer] == min(
    entropy["en ru el ar", kind] for kind in ("linear", "cubic")
)
# --- found
expected = {
    ("en ru el ar", "linear"): 0.23,
    ("en ru el ar", "cubic"): 0.43,
    ("es uk ka he", "linear"): 0.38,
    ("es uk ka he", "cubic"): 0.64,
}
for key, value in expected.items():
    assert abs(entropy[key] - value) < 0.08
assert {d.verdict for d in gain.values()} == {"open"}
