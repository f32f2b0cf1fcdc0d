"""partial_fit: one pass over some rows, going on where the last call ended."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from sk_eqsae import (
    ActivationTransformFitter,
    EquivariantSAE,
    GroupTiedSAE,
    TopKSAE,
    load,
    save,
)
from sk_eqsae.groups._element_matrices import irrep_basis
from sk_eqsae.sae import _group_tied

SETTINGS = {"k": 2, "batch_size": 16, "random_state": 0}
SAES = [
    TopKSAE(24, **SETTINGS),
    TopKSAE(24, hidden_dim=8, activation="batch_topk", **SETTINGS),
    EquivariantSAE(24, hidden_dim=8, **SETTINGS),
    GroupTiedSAE(26, n_free=2, **SETTINGS),
]
every_sae = pytest.mark.parametrize("sae", SAES, ids=lambda sae: type(sae).__name__)


def parts(sae, n, turning_orbits):
    """Whole orbits, some for each call."""
    X, groups, power, _ = turning_orbits
    for orbits in np.array_split(np.arange(len(X)).reshape(-1, 4), n):
        rows = orbits.ravel()
        metadata = {"groups": groups[rows], "power": power[rows]}
        yield X[rows], {} if isinstance(sae, TopKSAE) else metadata


@every_sae
def test_calls_learn_what_a_fit_learns(sae, turning_orbits):
    partial = clone(sae)
    for _ in range(10):
        for X, metadata in parts(sae, 3, turning_orbits):
            partial.partial_fit(X, **metadata)
    [(X, metadata)] = parts(sae, 1, turning_orbits)
    whole = clone(sae).set_params(max_epochs=10).fit(X, **metadata)
    assert partial.n_iter_ == len(partial.loss_curve_) == 30
    assert len(partial.error_curve_) == 30
    assert 1 - partial.score(X) < 1.5 * (1 - whole.score(X)) + 0.02


@every_sae
def test_mean_and_scale_are_those_of_the_first_call(sae, turning_orbits):
    calls = list(parts(sae, 3, turning_orbits))
    sae = clone(sae)
    for X, metadata in calls:
        sae.partial_fit(X + 100 * hasattr(sae, "mean_"), **metadata)
        expected = clone(sae).partial_fit(calls[0][0], **calls[0][1])
        assert np.array_equal(sae.mean_, expected.mean_)
        assert sae.scale_ == expected.scale_


def test_adam_goes_on(turning_orbits):
    """Forgetting it would make each call begin with steps of full length."""
    X = turning_orbits[0]
    sae, forgetful = (clone(SAES[0]) for _ in range(2))
    for _ in range(2):
        sae.partial_fit(X)
        forgetful.partial_fit(X)
        [steps] = {v.item() for k, v in sae._memory.items() if k.endswith("step")}
        assert steps == 30 * len(sae.loss_curve_)
        forgetful._memory = {
            k: v for k, v in forgetful._memory.items() if not k.startswith("optimizer.")
        }
    assert not np.allclose(sae.components_, forgetful.components_, atol=1e-4)


def test_the_search_for_dead_latents_goes_on(turning_orbits):
    X = turning_orbits[0]
    sae = TopKSAE(400, **(SETTINGS | {"k": 1}))  # some latents are never active
    for call in (1, 2):
        sae.partial_fit(X)
        assert sae._memory["module.idle"].max() == call * len(X)


def test_rows_are_shuffled_anew_in_each_call(turning_orbits, monkeypatch):
    from sk_eqsae.sae import _base  # noqa: PLC0415

    seeds = []
    train = _base.train
    monkeypatch.setattr(
        _base, "train", lambda *a, **k: seeds.append(k["seed"]) or train(*a, **k)
    )
    sae = clone(SAES[0])
    for _ in range(3):
        sae.partial_fit(turning_orbits[0])
    assert len(set(seeds)) == 3


@every_sae
def test_a_saved_autoencoder_goes_on_to_the_same_bits(sae, turning_orbits, tmp_path):
    (X, metadata), (more, its) = parts(sae, 2, turning_orbits)
    sae = clone(sae).partial_fit(X, **metadata)
    save(sae, tmp_path / "sae")
    copies = [load(tmp_path / "sae"), pickle.loads(pickle.dumps(sae))]
    sae.partial_fit(more, **its)
    for copy in copies:
        copy.partial_fit(more, **its)
        assert np.array_equal(copy.components_, sae.components_)


@every_sae
def test_a_call_that_fails_leaves_all_as_it_was(sae, turning_orbits):
    (X, metadata), (more, its) = parts(sae, 2, turning_orbits)
    sae = clone(sae).partial_fit(X, **metadata)
    expected = pickle.loads(pickle.dumps(sae)).partial_fit(more, **its)
    with pytest.raises(ValueError, match="diverged"):
        sae.set_params(lr=1e30).partial_fit(more, **its)
    sae.set_params(lr=None).partial_fit(more, **its)
    assert np.array_equal(sae.components_, expected.components_)


@every_sae
def test_fit_starts_anew_and_partial_fit_goes_on_from_it(sae, turning_orbits):
    [(X, metadata)] = parts(sae, 1, turning_orbits)
    sae = clone(sae).set_params(max_epochs=2)
    expected = clone(sae).fit(X, **metadata).components_
    sae.partial_fit(X, **metadata).fit(X, **metadata)
    assert np.array_equal(sae.components_, expected)
    assert not hasattr(sae, "_memory")


def test_m_is_of_the_orbits_of_all_calls(turning_orbits):
    sae = EquivariantSAE(24, hidden_dim=8, **SETTINGS)
    fitter = ActivationTransformFitter()
    for X, metadata in parts(sae, 3, turning_orbits):
        sae.partial_fit(X, **metadata)
        fitter.partial_fit(X, **metadata)
    assert np.array_equal(sae.activation_transform_.M_, fitter.M_)


def test_what_the_fitter_saw_before_is_not_in_m(turning_orbits):
    """As in fit, which clones it."""
    first, second = parts(SAES[2], 2, turning_orbits)
    seen = ActivationTransformFitter().partial_fit(first[0], **first[1])
    sae = clone(SAES[2])
    sae.activation_transform = seen
    sae.partial_fit(second[0], **second[1])
    expected = ActivationTransformFitter().partial_fit(second[0], **second[1])
    assert np.array_equal(sae.activation_transform_.M_, expected.M_)


def test_a_frozen_m_stays_and_one_without_partial_fit_is_an_error(turning_orbits):
    calls = list(parts(SAES[2], 2, turning_orbits))
    frozen = ActivationTransformFitter().fit(calls[0][0], **calls[0][1])
    sae = clone(SAES[2]).set_params(activation_transform=FrozenEstimator(frozen))
    M = frozen.M_.copy()
    for X, metadata in calls:
        sae.partial_fit(X, **metadata)
    assert np.array_equal(sae.activation_transform_.M_, M)
    sae = clone(SAES[2])
    sae.set_params(activation_transform=ActivationTransformFitter(solver="adam"))
    with pytest.raises(ValueError, match=r"has no partial_fit. Take one that has"):
        sae.partial_fit(calls[0][0], **calls[0][1])


def another_basis(activation_transform):
    """As valid as the one that is computed, whose opposite it is."""
    basis = irrep_basis(activation_transform)
    return basis._replace(to_irreps=-basis.to_irreps, from_irreps=-basis.from_irreps)


@pytest.mark.parametrize("hidden_dim", [None, 4])
def test_adam_goes_on_in_the_basis_in_which_it_began(
    hidden_dim, turning_orbits, monkeypatch
):
    """Irreps have no unique one: another BLAS finds another."""
    first, second = parts(SAES[3], 2, turning_orbits)
    sae = clone(SAES[3]).set_params(hidden_dim=hidden_dim)
    one, other = clone(sae), clone(sae)
    for X, metadata in (first, second):
        one.partial_fit(X, **metadata)
    other.partial_fit(first[0], **first[1])
    monkeypatch.setattr(_group_tied, "irrep_basis", another_basis)
    other.partial_fit(second[0], **second[1])
    for ours, theirs in zip(one.coefs_, other.coefs_, strict=True):
        assert np.array_equal(ours, theirs)
    assert np.array_equal(one.components_, other.components_)


def test_a_later_call_may_lack_powers(turning_orbits):
    """The first call has decided the order."""
    X, groups, power, _ = turning_orbits
    few = power < 2
    for each in SAES[2:]:
        sae = clone(each).partial_fit(X, groups=groups, power=power)
        sae.partial_fit(X[few], groups=groups[few], power=power[few])
        assert sae.order_ == 4


def test_other_sizes_are_an_error(turning_orbits):
    sae = clone(SAES[0]).partial_fit(turning_orbits[0])
    with pytest.raises(ValueError, match=r"the 24 latents .*n_components=25"):
        sae.set_params(n_components=25).partial_fit(turning_orbits[0])
    sae.set_params(n_components=24, hidden_dim=8)
    with pytest.raises(ValueError, match=r"and 0 hidden units .* hidden_dim=8"):
        sae.partial_fit(turning_orbits[0])
