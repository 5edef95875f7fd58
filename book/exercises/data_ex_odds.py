"""Even odds."""

from moe_lib import make_data, setting
from moe_lib.data import PatchRole

data, _ = make_data(setting(3), seed=0)
length = data.x.norm(dim=-1)  # of every patch
# --- your turn: `louder`, the share of examples with gamma > alpha, and `right`, the
# share in which the stronger patch has the sign of the label
alpha = length[data.patch_role == PatchRole.FEATURE]
gamma = length[data.patch_role == PatchRole.FEATURE_NOISE]
louder = (gamma > alpha).double().mean()
right = ((data.noise_sign == data.y) | (alpha > gamma)).double().mean()
# --- check
print(f"gamma > alpha: {louder:.3f}, stronger patch right: {right:.3f}")
assert 0 < louder < 1
assert abs(right - (1 - louder / 2)) < 0.02  # wrong if louder and of the other sign
# --- found
assert abs(100 * louder - 50) < 1.6  # four standard errors
assert abs(100 * right - 75) < 1.4
