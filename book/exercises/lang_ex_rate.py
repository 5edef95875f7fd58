"""A choice of rates."""

from moe_lib.compare import paired_difference
from moe_lib.realdata import babel_names
from moe_lib.weak import WeakConfig
from moe_lib.weak_train import WeakTraining, best_of

seeds = range(10)
models = {
    "single": WeakConfig(),
    "mixture": WeakConfig(num_experts=4),
    "oracle": WeakConfig(num_experts=4, routing="oracle"),
}


def test(ways):
    """Return each mixture minus the single expert on the Latin set, in points."""
    latin = ["es", "de", "hu", "pl"]
    splits = [babel_names(latin, dim=512, seed=s) for s in seeds]
    sizes = {"num_train": len(splits[0].train), "num_test": len(splits[0].test)}
    result = {k: best_of(splits, m, ways, seeds=seeds) for k, m in models.items()}
    accuracy = {k: 100 * r.test_accuracy.numpy() for k, r in result.items()}
    return {
        k: paired_difference(accuracy[k], accuracy["single"], **sizes)
        for k in ("mixture", "oracle")
    }


# --- your turn: `ways`, two ways of training: rates 0.004 and 0.016, both with weight
# decay 0.1, by SGD for 40 epochs
ways = [
    WeakTraining(optimizer="sgd", lr=lr, weight_decay=0.1, epochs=40)
    for lr in (0.004, 0.016)
]
# --- check
assert {way.lr for way in ways} == {0.004, 0.016}
same = {(way.optimizer, way.weight_decay, way.epochs) for way in ways}
assert same == {("sgd", 0.1, 40)}
gain = test(ways)
for k, d in gain.items():
    print(f"{k}: {d.mean:+.1f}, {d.low:+.1f} to {d.high:+.1f}", d.verdict)
# --- found
assert gain["oracle"].verdict == "better"
assert abs(gain["mixture"].mean + 3.3) < 0.7
assert abs(gain["mixture"].high - 0.3) < 0.8
