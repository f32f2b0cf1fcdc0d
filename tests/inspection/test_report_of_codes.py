import numpy as np
import pytest
from sklearn.linear_model import Ridge

from sk_eqsae import GroupTiedSAE, TopKSAE
from sk_eqsae.activations import Orbits
from sk_eqsae.inspection import (
    TransformFidelityDisplay,
    code_equivariance,
    equivariance_report,
    fvu,
)

FAST = {"ceiling": Ridge(1e-6), "n_bootstrap": 20, "random_state": 0}


def orbits_of(order):
    rng = np.random.default_rng(0)
    x = np.abs(rng.normal(size=(60, 2 * order)))
    X = np.stack([np.roll(x, 2 * p, axis=1) for p in range(order)], axis=1)
    X = X + 0.3 * rng.normal(size=X.shape)
    groups, power = np.indices(X.shape[:2])
    return Orbits(X.reshape(-1, 2 * order), groups.ravel(), power.ravel())


@pytest.fixture(scope="module")
def parts():
    return orbits_of(3).split(random_state=0)


@pytest.fixture(scope="module")
def sae(parts):
    train, _ = parts
    sae = GroupTiedSAE(12, k=3, orbit_lengths={3: 4}, max_epochs=20, random_state=0)
    return sae.fit(train.X, **train.metadata)


@pytest.fixture(scope="module")
def report(parts, sae):
    return equivariance_report(*parts, sae=sae, **FAST)


def test_moved_codes_stand_beside_the_maps(parts, sae, report):
    _, test = parts
    codes = report[report["map"] == "codes"].set_index("power")
    assert codes.index.tolist() == [1, 2, "mean"]
    for power in (1, 2):
        Z = sae.transform(test.X[test.power == 0])
        moved = sae.inverse_transform(sae.latent_orbits_.permute(Z, power))
        error = fvu(test.X[test.power == power], moved)
        assert 1 - codes.r2[power] == pytest.approx(error, rel=1e-4)
        assert codes.low[power] < codes.r2[power] < codes.high[power]
    found = code_equivariance(sae, test.X, **test.metadata)
    assert codes.code_equivariance.tolist() == found.code_equivariance.tolist()


def test_maps_are_judged_as_without_codes(parts, report):
    plain = equivariance_report(*parts, **FAST)
    assert "code_equivariance" not in plain
    others = report[report["map"] != "codes"]
    assert others["code_equivariance"].isna().all()
    assert others[list(plain)].equals(plain)


def test_the_picture_says_how_equivariant_codes_are(plt, report):
    display = TransformFidelityDisplay(report).plot()
    mean = report["code_equivariance"].iloc[-1]
    label = display.ax_.get_legend().get_texts()[-1].get_text()
    assert " ".join(label.split()) == f"moved codes, equivariance {mean:.2f}"
    assert len(display.ax_.containers) == 5


def test_codes_without_orbits_or_of_another_group_are_refused(parts, sae):
    plain = TopKSAE(4, k=1, max_epochs=1, random_state=0).fit(parts[0].X)
    with pytest.raises(TypeError, match="TopKSAE has no latent orbits"):
        equivariance_report(*parts, sae=plain, **FAST)
    others = orbits_of(4).split(random_state=0)
    with pytest.raises(ValueError, match="but test has the symmetry"):
        equivariance_report(*others, sae=sae, **FAST)
