"""Equal weights on "verify"."""

from moe_lib import make_data, setting

data = make_data(setting("verify"), seed=0)[1]
# --- your turn: `said`, the accuracy by the formula, and `F`, the score that equal
# weights give to each example
said = 0.5 + 0.5 * 0.5
F = data.patch_sum @ data.signals.feature.sum(dim=0)
# --- check
accuracy = (data.y * F > 0).double().mean().item()
print(f"formula {said:.3f}, measured {accuracy:.3f}")
assert abs(accuracy - said) < 0.014  # four standard errors
# --- found
assert abs(100 * accuracy - 75) < 1.4
