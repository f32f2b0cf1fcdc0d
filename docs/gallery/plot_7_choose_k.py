"""
Choosing k and n_components
===========================

How many latents may be active, and how many are there? ``fit_many`` trains a sweep of
k at once.
"""

# %%
# Data whose answer is known
# --------------------------
# 96 directions in 48 dimensions, 6 of them active in each row.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.preprocessing import normalize

from sk_eqsae import TopKSAE, fit_many
from sk_eqsae.inspection import FrontierDisplay, dead_latents

rng = np.random.default_rng(0)
atoms = normalize(rng.normal(size=(96, 48)))
codes = rng.uniform(0.5, 1.5, size=(6_000, 96))
codes *= codes.argsort(axis=1).argsort(axis=1) >= 90
X = (codes @ atoms).astype("float32")
train, test = X[:5_000], X[5_000:]

# %%
# The sweep
# ---------
# The dotted line is at the number of directions that are really active.

ks, sizes = (2, 4, 6, 8, 12), (48, 96, 192)
saes = {
    f"{n} latents": fit_many(
        [TopKSAE(n, k=k, max_epochs=25, random_state=0) for k in ks], train
    )
    for n in sizes
}
display = FrontierDisplay.from_estimators(saes, test)
display.ax_.axvline(6, color="0.5", ls=":", zorder=0)
plt.show()

# %%
# The error falls steeply until k reaches what is really active, and slowly after it.
# The same autoencoders against the size of the dictionary, for the right k alone:

right = display.table[display.table["l0"].round() == 6]
FrontierDisplay(right.assign(name="k = 6")).plot(x="n_components")
plt.show()

# %%
# More latents than there are directions help little; many dead ones say that the
# dictionary is too large, or badly trained.

for name, several in saes.items():
    dead = [dead_latents(sae.transform(test)) for sae in several]
    shares = ", ".join(
        f"k = {k}: {share:.0%}" for k, share in zip(ks, dead, strict=True)
    )
    print(f"{name}, dead: {shares}")
