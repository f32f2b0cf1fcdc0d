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
from sk_eqsae.inspection import dead_latents

rng = np.random.default_rng(0)
atoms = normalize(rng.normal(size=(96, 48)))
codes = rng.uniform(0.5, 1.5, size=(6_000, 96))
codes *= codes.argsort(axis=1).argsort(axis=1) >= 90
X = (codes @ atoms).astype("float32")
train, test = X[:5_000], X[5_000:]

# %%
# The sweep
# ---------

ks, sizes = (2, 4, 6, 8, 12), (48, 96, 192)
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
for n, style in zip(sizes, ("o-", "s--", "^:"), strict=True):
    saes = [TopKSAE(n, k=k, max_epochs=25, random_state=0) for k in ks]
    saes = fit_many(saes, train)
    fvu = [1 - sae.score(test) for sae in saes]
    dead = [dead_latents(sae.transform(test)) for sae in saes]
    left.plot(ks, fvu, style, label=f"{n} latents")
    right.plot(ks, dead, style, label=f"{n} latents")
left.set(xlabel="k", ylabel="FVU on held-out rows", yscale="log")
right.set(xlabel="k", ylabel="share of dead latents")
left.legend(frameon=False)
plt.show()

# %%
# The error falls steeply until k reaches what is really active, and slowly after it.
# More latents than there are directions help little; many dead ones say that the
# dictionary is too large, or badly trained.
