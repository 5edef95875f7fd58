"""Other splits."""

from moe_lib.compare import paired_difference
from moe_lib.realdata import babel_names
from moe_lib.weak import WeakConfig
from moe_lib.weak_train import WeakTraining, best_of

SETS = "en ru el ar", "es uk ka he"
common = {"optimizer": "sgd", "lr": 0.016, "epochs": 40}
ways = [WeakTraining(weight_decay=w, **common) for w in (0.01, 0.1)]


def test(codes, seeds):
    """Return mixture minus single expert on splits with these seeds, in points."""
    splits = [babel_names(codes.split(), seed=s) for s in seeds]
    sizes = {"num_train": len(splits[0].train), "num_test": len(splits[0].test)}
    models = WeakConfig(num_experts=4), WeakConfig()
    both = [best_of(splits, model, ways, seeds=seeds) for model in models]
    return paired_difference(*(100 * r.test_accuracy.numpy() for r in both), **sizes)


# --- your turn: `found`, what `test` says of both sets on splits 100 to 109
found = {codes: test(codes, range(100, 110)) for codes in SETS}
# --- check
assert set(found) == set(SETS)
for codes, d in found.items():
    print(f"{codes}: {d.mean:+.1f}, {d.low:+.1f} to {d.high:+.1f}", d.verdict)
    assert d.num_splits == 10
assert found["es uk ka he"].verdict == "better"
# --- found
assert [d.verdict for d in found.values()] == ["better", "better"]
for d, mean in zip(found.values(), (2.3, 4.5), strict=True):
    assert abs(d.mean - mean) < 0.5
assert abs(found["en ru el ar"].low - 0.3) < 0.2
