"""
Choosing k and n_components
===========================

How many latents may be active, and how many are there? ``fit_many`` trains a sweep of
k at once.
"""

# %%
# Data whose answer is known
# --------------------------
# 64 directions in 32 dimensions, 4 of them active in each row.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.preprocessing import normalize

from sk_eqsae import TopKSAE, fit_many
from sk_eqsae.inspection import FrontierDisplay, dead_latents

rng = np.random.default_rng(0)
atoms = normalize(rng.normal(size=(64, 32)))
codes = rng.uniform(0.5, 1.5, size=(6_000, 64))
codes *= codes.argsort(axis=1).argsort(axis=1) >= 60
X = (codes @ atoms).astype("float32")
train, test = X[:5_000], X[5_000:]

# %%
# The sweep
# ---------
# The dotted line is at the number of directions that are really active.

ks, sizes = (1, 2, 3, 4, 6, 8), (32, 64, 128)
saes = {
    f"{n} latents": fit_many(
        [TopKSAE(n, k=k, max_epochs=40, random_state=0) for k in ks],
        train,
    )
    for n in sizes
}
display = FrontierDisplay.from_estimator(saes, test)
display.ax_.axvline(4, color="0.5", ls=":", zorder=0)
plt.show()

# %%
# With enough latents, the error falls steeply until k reaches what is really active,
# and slowly after it.
# With that k, against the size of the dictionary:

right = [several[ks.index(4)] for several in saes.values()]
display = FrontierDisplay.from_estimator(
    right, test, x="n_components"
)
display.ax_.set_xticks(sizes)
plt.show()

# %%
# More latents than there are directions help little; many dead ones say that the
# dictionary is too large, or badly trained.

for sae in right:
    share = dead_latents(sae.transform(test))
    print(f"{sae.n_components} latents, {share:.0%} of them dead")
