"""
Comparing dictionaries across seeds
===================================

A feature that only one of two runs finds is not a feature of the network. For each
vector of one dictionary: the cosine of the nearest vector of another, trained with
another seed.
"""

# %%
# Two dictionaries, two sizes
# ---------------------------
# 64 directions in 32 dimensions, 3 of them active in each row.

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.preprocessing import normalize

from sk_eqsae import TopKSAE, fit_many

rng = np.random.default_rng(0)
atoms = normalize(rng.normal(size=(64, 32)))
codes = rng.uniform(0.5, 1.5, size=(5_000, 64))
codes *= codes.argsort(axis=1).argsort(axis=1) >= 61
X = (codes @ atoms).astype("float32")


def matched(first, second):
    """Cosines of the best one-to-one matching, largest first."""
    cosines = normalize(first) @ normalize(second).T
    return np.sort(cosines[linear_sum_assignment(-cosines)])[::-1]


figure, axis = plt.subplots(figsize=(4.2, 2.8), layout="constrained")
styles = {
    64: {"color": "#0072B2"},
    256: {"color": "#D55E00", "ls": "--"},
}
settings = {"k": 3, "max_epochs": 100}
for n, style in styles.items():
    saes = [TopKSAE(n, random_state=s, **settings) for s in (0, 1)]
    first, second = fit_many(saes, X)
    cosines = matched(first.components_, second.components_)
    share = np.linspace(0, 1, n)
    axis.plot(share, cosines, label=f"{n} latents", **style)
    found = matched(first.components_, atoms)
    print(f"{n} latents")
    print(f"    true directions found: {np.mean(found > 0.95):.0%}")
    print(
        f"    vectors with a partner: {np.mean(cosines > 0.95):.0%}"
    )
axis.set(
    xlabel="share of the vectors, best matched first",
    ylabel="cosine with the other seed",
    ylim=(0, 1.02),
)
axis.legend(frameon=False)
plt.show()

# %%
# The larger dictionary finds all directions, which most of the smaller one's vectors
# are, too. Its surplus vectors are where runs differ: read them with care.
