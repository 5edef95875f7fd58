"""A choice of rates."""

from moe_lib import dispatch_entropy
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


def test(codes, ways):
    """Return each mixture minus the single expert in points, and the mean entropy."""
    splits = [babel_names(codes.split(), dim=512, seed=s) for s in seeds]
    sizes = {"num_train": len(splits[0].train), "num_test": len(splits[0].test)}
    result = {k: best_of(splits, m, ways, seeds=seeds) for k, m in models.items()}
    accuracy = {k: 100 * r.test_accuracy.numpy() for k, r in result.items()}
    gain = {
        k: paired_difference(accuracy[k], accuracy["single"], **sizes)
        for k in ("mixture", "oracle")
    }
    return gain, dispatch_entropy(result["mixture"].dispatch_counts).mean().item()


# --- your turn: `ways`, four ways of training: rates 0.004 and 0.016, each with weight
# decay 0.01 and 0.1, by SGD for 40 epochs
ways = [
    WeakTraining(optimizer="sgd", lr=lr, weight_decay=w, epochs=40)
    for lr in (0.004, 0.016)
    for w in (0.01, 0.1)
]
# --- check
assert {(way.lr, way.weight_decay) for way in ways} == {
    (lr, w) for lr in (0.004, 0.016) for w in (0.01, 0.1)
}
assert {(way.optimizer, way.epochs) for way in ways} == {("sgd", 40)}
latin, scripts = (test(codes, ways) for codes in ("es de hu pl", "en ru el ar"))
for name, (gain, entropy) in (("Latin", latin), ("scripts", scripts)):
    for k, d in gain.items():
        print(f"{name}, {k}: {d.mean:+.1f}, {d.low:+.1f} to {d.high:+.1f}", d.verdict)
    print(f"{name}: entropy {entropy:.2f}")
# --- found
assert abs(latin[0]["mixture"].mean + 3.2) < 0.7
assert abs(latin[0]["mixture"].high - 0.3) < 0.8
assert latin[0]["oracle"].verdict == "better"
assert abs(scripts[0]["mixture"].mean + 0.3) < 0.5
assert {d.verdict for d in scripts[0].values()} == {"open"}
assert abs(scripts[1] - 0.17) < 0.05
