import numpy as np
import pandas as pd
import pytest

from benchmarks.consistency import __main__ as consistency
from sk_eqsae.activations import Orbits


def shifted_orbits(data, seed):
    canonical = np.abs(np.random.default_rng(seed).normal(size=(80, 3))) @ np.eye(3, 12)
    X = np.concatenate([np.roll(canonical, 3 * p, axis=1) for p in range(4)])
    orbits = Orbits(X, np.tile(np.arange(80), 4), np.repeat(np.arange(4), 80))
    return orbits, orbits


@pytest.mark.filterwarnings("ignore:.*latents are dead")
def test_codes_are_judged_for_every_weight(monkeypatch, tmp_path):
    monkeypatch.setattr(consistency, "_orbits", shifted_orbits)
    monkeypatch.setattr(consistency, "DATA", {"digits": 100})
    monkeypatch.setattr(consistency, "N_COMPONENTS", 64)
    fits = [consistency._fit("digits", 0, 3, w, cache=tmp_path) for w in (0, 0.3)]
    without, default = fits
    assert default["within_orbits"] < 0.2 * without["within_orbits"]
    assert max(without["fvu"], default["fvu"]) < 0.1
    lines = consistency.table(pd.DataFrame(fits)).splitlines()
    assert lines[0] == "| weight | digits, k = 3 |"
    cell = f"{default['fvu']:.4f} / {default['within_orbits']:.4f}"
    assert lines[-1] == f"| 0.3 | {cell} |"
