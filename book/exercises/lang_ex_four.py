"""Four tests."""

from scipy.stats import t

mean, low, high = 4.6, 2.0, 7.2  # Spanish, Ukrainian, Georgian, Hebrew, in points
# --- your turn: `factor`, by which an interval of ten splits grows if it is made at
# 1 - 0.05/4 instead of 95 %, and `survives`, whether it still leaves out zero
factor = t.ppf(1 - 0.05 / 8, 9) / t.ppf(1 - 0.05 / 2, 9)
survives = mean - factor * (high - low) / 2 > 0
# --- check
half = factor * (high - low) / 2
print(f"factor {factor:.2f}: {mean - half:.1f} to {mean + half:.1f}")
wide = half * t.ppf(0.975, 9) / ((high - low) / 2)  # the quantile that this stands for
assert abs(2 * t.sf(wide, 9) - 0.05 / 4) < 0.001
assert survives == (mean > half)
# --- found
assert abs(factor - 1.38) < 0.005
assert abs(mean - half - 1.0) < 0.05
assert abs(mean + half - 8.2) < 0.05
