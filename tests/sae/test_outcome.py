from functools import partial

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from sk_eqsae import EquivariantSAE, GroupTiedSAE, TopKSAE, fit_many
from sk_eqsae._rows import TrainingRows
from sk_eqsae.sae import Recipe, _outcome
from sk_eqsae.sae._outcome import sample

QUICK = {"max_epochs": 2, "random_state": 0}
KINDS = [
    TopKSAE,
    partial(EquivariantSAE, symmetry=1),
    partial(GroupTiedSAE, symmetry=1),
]
UNREVIVED = {"recipe": Recipe(aux_weight=0), "lr": 1e-3}


@pytest.fixture
def rows():
    return np.random.default_rng(0).normal(size=(300, 6))


def nearly_dead(sae, rows):
    """An autoencoder that goes on with biases far below all that a row can reach."""
    sae.set_params(**UNREVIVED).fit(rows)
    sae.intercepts_[-1] -= 1e6
    if hasattr(sae, "threshold_"):
        sae.threshold_ = 0.0
    return sae.set_params(warm_start=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("activation", ["topk", "batch_topk"])
def test_a_fit_that_leaves_all_latents_dead_warns(kind, activation, rows):
    sae = nearly_dead(kind(12, k=2, activation=activation, **QUICK), rows)
    with pytest.warns(ConvergenceWarning, match="All latents are dead"):
        sae.fit(rows)
    assert not sae.transform(rows).any()


def test_fits_at_once_warn_of_dead_latents(rows):
    saes = [nearly_dead(TopKSAE(12, k=k, **QUICK), rows) for k in (2, 3)]
    with pytest.warns(ConvergenceWarning, match="All latents are dead") as caught:
        fit_many(saes, rows)
    assert len(caught) == 2


def test_a_dictionary_that_is_far_too_large_warns():
    line = np.random.default_rng(0).normal(size=(1_000, 1)) @ np.ones((1, 6))
    sae = TopKSAE(200, k=2, **QUICK)
    with pytest.warns(ConvergenceWarning, match=r"1\d\d of 200 latents are dead"):
        sae.fit(line)
    sae.fit(line[:990])  # so few that some may have had no chance
    # the paper's recipe says itself that most die
    TopKSAE(200, k=2, recipe="paper", **QUICK).fit(line)


@pytest.mark.parametrize("recipe", ["default", "paper"])
@pytest.mark.parametrize("kind", KINDS)
def test_good_data_few_rows_and_short_fits_do_not_warn(kind, recipe, rows):
    settings = {"k": 1, "recipe": recipe, "max_epochs": 1, "random_state": 0}
    kind(12, **settings).fit(rows)
    kind(500, **settings).fit(rows)
    kind(12, **settings).fit(rows[:1])
    kind(12, **settings).fit(np.full((20, 6), 3.0))  # nothing to code but the mean


def test_a_sample_is_all_rows_or_as_many_as_asked_for():
    X = np.arange(20.0)[:, None]
    inputs, target = sample(TrainingRows(X), 50)
    assert inputs is target
    np.testing.assert_array_equal(inputs, X)
    turned = TrainingRows(X, np.arange(20), np.arange(20)[::-1])
    inputs, target = sample(turned, 5)
    assert inputs.ravel().tolist() == [0, 4, 9, 14, 19]
    np.testing.assert_array_equal(target, 19 - inputs)


def test_latents_are_dead_on_as_many_rows_as_give_each_a_chance(rows, monkeypatch):
    asked = []
    monkeypatch.setattr(
        _outcome, "sample", lambda *args: asked.append(args[1]) or sample(*args)
    )
    TopKSAE(500, k=2, **UNREVIVED, **QUICK).fit(rows)
    TopKSAE(12, k=2, **QUICK).fit(rows)
    assert asked == [10 * 500 // 2, 1_024]


def test_weights_that_are_not_finite_after_the_last_step_are_an_error(rows):
    sae = TopKSAE(12, k=2, lr=1e39, batch_size=300, max_epochs=1, random_state=0)
    with pytest.raises(ValueError, match=r"after the last step, with lr=1e\+39"):
        sae.fit(rows)
    with pytest.raises(ValueError, match=r"estimators\[1\]: .*with lr=1e\+39"):
        fit_many([TopKSAE(12, k=2, **QUICK), sae], rows)


def test_a_normalized_fit_that_is_far_off_is_told_of_epochs():
    rows = np.random.default_rng(0).normal(size=(300, 8))
    sae = TopKSAE(2_048, k=32, max_epochs=1, random_state=0)
    with pytest.warns(ConvergenceWarning, match="times that of zeros. Raise max_epo"):
        sae.fit(rows)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_too_small_for_a_recipe_without_a_scale_warn(kind, rows):
    sae = kind(12, k=2, recipe="paper", **QUICK)
    with pytest.warns(ConvergenceWarning, match="Reconstructions are far from the"):
        sae.fit(1e-20 * rows)
    assert sae.score(1e-20 * rows) < -1e30
    assert kind(12, k=2, **QUICK).fit(1e-20 * rows).score(1e-20 * rows) > 0


def rows_with_sinks(factor):
    """2,000 sparse rows, 20 of which lie far out along one direction."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(16, 16)))[0]
    rows = np.abs(rng.normal(size=(2000, 16))) * (rng.random((2000, 16)) < 0.2) @ basis
    rows[rng.choice(2000, 20, replace=False)] += factor * basis[0]
    return rows


@pytest.mark.parametrize("kind", [TopKSAE, EquivariantSAE, GroupTiedSAE])
def test_a_few_long_rows_that_hold_all_variance_are_warned_of(kind):
    settings = {"k": 4, "max_epochs": 20, "random_state": 0}
    settings |= {} if kind is TopKSAE else {"symmetry": 1}
    with pytest.warns(
        UserWarning, match=r"1 % .* hold (99|100)% .* of the other rows 0\."
    ):
        kind(32, **settings).fit(rows_with_sinks(1000) + 1e5)  # far from their mean
    kind(32, **settings).fit(rows_with_sinks(1))


@pytest.mark.parametrize("n_components", [10**12, 2**62])
@pytest.mark.parametrize("kind", KINDS)
def test_a_dictionary_that_no_memory_holds_is_an_error_of_its_size(
    kind, n_components, rows
):
    with pytest.raises(ValueError, match=rf"{n_components} latents.*n_components"):
        kind(n_components, k=2, **QUICK).fit(rows)
