"""
A Pipeline in GridSearchCV
==========================

Autoencoder, selection of latents and probe in one ``Pipeline``, searched with
``GroupKFold`` so that no orbit is cut.
"""

# %%
# Activations
# -----------

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import Pipeline

from sk_eqsae import (
    EquivariantSAE,
    MeanDifferenceSelector,
    extract_orbits,
    make_probe,
)
from sk_eqsae.groups import ImageRotation

digits = load_digits()
images = digits.images[:, None].astype("float32")[:400] / 16
torch.manual_seed(0)
model = torch.nn.Sequential(
    torch.nn.Flatten(), torch.nn.Linear(64, 48), torch.nn.ReLU()
)
orbits = extract_orbits(
    model, images, layer="1", action=ImageRotation(4)
)
y = (digits.target[orbits.inputs] == 0).astype(int)

# %%
# The search
# ----------
# The autoencoder is told the orbit and the power of each row by ``sae__groups`` and
# ``sae__power``. (With scikit-learn's metadata routing on, ``groups`` and ``power`` are
# enough.) Latents are selected in each fold anew.

sae = EquivariantSAE(128, symmetry=4, max_epochs=15, random_state=0)
pipe = Pipeline(
    [
        ("sae", sae),
        ("select", MeanDifferenceSelector()),
        ("probe", make_probe("logistic")),
    ]
)
grid = {
    "sae__k": [4, 16],
    "select__n_features_to_select": [1, 4, 16],
    "probe": [make_probe("logistic"), make_probe("knn")],
}
search = GridSearchCV(pipe, grid, cv=GroupKFold(3), scoring="f1")
search.fit(
    orbits.X,
    y,
    groups=orbits.groups,
    sae__groups=orbits.groups,
    sae__power=orbits.power,
)
print(f"best F1 {search.best_score_:.3f}")

# %%
# What the search has found: is it a zero, from how many latents?

results = pd.DataFrame(search.cv_results_)
is_knn = results.param_probe.astype(str).str.contains("KNeighbors")
results["probe"] = np.where(is_knn, "knn", "logistic")
styles = [
    {"color": "#0072B2", "marker": "o", "linestyle": "-"},
    {"color": "#D55E00", "marker": "s", "linestyle": "--"},
    {"color": "#009E73", "marker": "^", "linestyle": "-."},
    {"color": "#CC79A7", "marker": "v", "linestyle": ":"},
]
lines = results.groupby(["param_sae__k", "probe"])
figure, axis = plt.subplots(figsize=(4.2, 2.8), layout="constrained")
for ((k, probe), rows), style in zip(lines, styles, strict=True):
    axis.plot(
        rows.param_select__n_features_to_select,
        rows.mean_test_score,
        label=f"k = {k}, {probe}",
        **style,
    )
axis.set(xscale="log", xlabel="latents kept", ylabel="F1")
axis.set_xticks([1, 4, 16], ["1", "4", "16"])
axis.minorticks_off()
axis.legend(frameon=False, handlelength=3)
plt.show()
