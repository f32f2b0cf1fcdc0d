"""What the autoencoders with a symmetry share: orbits, M, and what they warn of."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sk_eqsae import ActivationTransformFitter, EquivariantSAE, GroupTiedSAE
from sk_eqsae.groups import CyclicGroup, DihedralGroup

SETTINGS = {"k": 2, "max_epochs": 1, "random_state": 0}
SAES = [EquivariantSAE(24, hidden_dim=8, **SETTINGS), GroupTiedSAE(24, **SETTINGS)]
every_sae = pytest.mark.parametrize("sae", SAES, ids=lambda sae: type(sae).__name__)
X = np.random.default_rng(0).normal(size=(60, 6))

WAYS = {
    "fit": lambda sae: sae.fit(X),
    "fit_transform": lambda sae: sae.fit_transform(X),
    "partial_fit": lambda sae: sae.partial_fit(X),
    "Pipeline": lambda sae: make_pipeline(FunctionTransformer(), sae).fit(X),
    "GridSearchCV": lambda sae: GridSearchCV(sae, {"k": [2]}, cv=2).fit(X),
}


@every_sae
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_symmetric_one_that_is_told_of_no_orbits_warns_at_the_line_of_the_caller(
    sae, way
):
    with pytest.warns(UserWarning, match="got no groups and power, so it") as caught:
        way(clone(sae))
    assert {warning.filename for warning in caught} == {__file__}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        way(clone(sae).set_params(symmetry=1))  # says that none is meant


@every_sae
def test_warnings_of_a_fit_point_at_the_line_of_the_caller(sae):
    metadata = {"groups": np.arange(60) // 4, "power": np.arange(60) % 4}
    with pytest.warns(UserWarning, match="M is not to be trusted") as caught:
        clone(sae).fit(X, **metadata)
    assert {warning.filename for warning in caught} == {__file__}


@every_sae
@pytest.mark.parametrize("symmetry", [4, DihedralGroup(2)])
def test_a_symmetry_without_orbits_is_an_error(sae, symmetry):
    for fit in ("fit", "partial_fit"):
        with pytest.raises(ValueError, match="needs to know the orbits: pass groups="):
            getattr(clone(sae).set_params(symmetry=symmetry), fit)(X)


# without power 1 rounding decides what M does to the rows that it takes there
@pytest.mark.filterwarnings("ignore:M is not to be trusted", "ignore:Poses are amb")
@every_sae
@pytest.mark.parametrize(
    ("kept", "missing"), [([0, 2, 3], "power 1, so"), ([0, 3], "power 1, 2, so")]
)
def test_powers_with_a_gap_do_not_say_which_group_it_is(
    sae, kept, missing, turning_orbits
):
    rows, groups, power, _ = turning_orbits
    seen = np.isin(power, kept)
    metadata = {"groups": groups[seen], "power": power[seen]}
    with pytest.raises(ValueError, match=f"no row has {missing}.*Set symmetry"):
        clone(sae).fit(rows[seen], **metadata)
    known = clone(sae).set_params(symmetry=4)
    if len(kept) == 3:  # power 1 is power 2 and 3 undone
        assert known.fit(rows[seen], **metadata).order_ == 4


@every_sae
@pytest.mark.parametrize("symmetry", [None, 4, CyclicGroup(4)])
def test_an_int_a_group_and_the_powers_say_the_same(sae, symmetry, turning_orbits):
    rows, groups, power, _ = turning_orbits
    fitted = clone(sae).set_params(symmetry=symmetry)
    fitted.fit(rows, groups=groups, power=power)
    assert fitted.symmetry_ == CyclicGroup(4)
    assert fitted.order_ == 4


@every_sae
def test_the_seed_reaches_m(sae, turning_orbits):
    """Solved by Adam it depends on the order of the rows."""
    rows, groups, power, _ = turning_orbits
    rows = rows + 0.1 * np.random.default_rng(0).normal(size=rows.shape)
    fitter = ActivationTransformFitter(solver="adam", max_epochs=2, batch_size=16)
    sae = clone(sae).set_params(activation_transform=fitter)
    one, two, other = (
        clone(sae).set_params(random_state=seed).fit(rows, groups=groups, power=power)
        for seed in (0, 0, 1)
    )
    M, same, different = (s.activation_transform_.M_ for s in (one, two, other))
    np.testing.assert_array_equal(M, same)
    np.testing.assert_array_equal(one.components_, two.components_)
    assert not np.array_equal(M, different)


def test_a_seed_of_its_own_stays_with_m(turning_orbits):
    rows, groups, power, _ = turning_orbits
    rows = rows + 0.1 * np.random.default_rng(0).normal(size=rows.shape)
    fitter = ActivationTransformFitter(
        solver="adam", max_epochs=2, batch_size=16, random_state=7
    )
    alone = clone(fitter).fit(rows, groups=groups, power=power)
    sae = clone(SAES[0]).set_params(activation_transform=fitter)
    sae.fit(rows, groups=groups, power=power)
    np.testing.assert_array_equal(sae.activation_transform_.M_, alone.M_)
