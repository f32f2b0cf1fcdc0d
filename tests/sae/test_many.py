import re

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning, NotFittedError

import sk_eqsae.sae._many
from sk_eqsae import EquivariantSAE, GroupTiedSAE, TopKSAE, fit_many
from sk_eqsae.sae import Recipe
from sk_eqsae.sae._objective import Objective

X = load_digits(return_X_y=True)[0][:301]
SETTINGS = {"k": 8, "max_epochs": 4, "batch_size": 64, "random_state": 0}


def topk(n_components=64, **changes):
    return TopKSAE(n_components, **(SETTINGS | changes))


def equivariant(**changes):
    settings = SETTINGS | {"k": 4, "symmetry": 4, "hidden_dim": 30} | changes
    return EquivariantSAE(24, **settings)


@pytest.fixture
def stack_sizes(monkeypatch):
    """How many estimators each training has trained."""
    sizes = []
    train = sk_eqsae.sae._many._train

    def spy(stack):
        sizes.append(len(stack))
        return train(stack)

    monkeypatch.setattr(sk_eqsae.sae._many, "_train", spy)
    return sizes


def fitted_state(sae):
    return {
        "components": sae.components_,
        "intercept": sae.intercept_,
        "loss_curve": sae.loss_curve_,
        "error_curve": sae.error_curve_,
        "threshold": np.array(getattr(sae, "threshold_", np.nan)),
        "n_iter": np.array(sae.n_iter_),
        **{f"coef {i}": coef for i, coef in enumerate(sae.coefs_)},
        **{f"bias {i}": bias for i, bias in enumerate(sae.intercepts_)},
    }


def assert_same(ours, theirs):
    """Equal up to rounding."""
    ours, theirs = fitted_state(ours), fitted_state(theirs)
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_allclose(
            ours[name], theirs[name], rtol=1e-4, atol=1e-5, err_msg=name
        )


SWEEPS = {
    "k": [topk(k=k) for k in (5, 2, 64, 2)],
    "seed": [topk(random_state=seed) for seed in range(3)],
    "lr": [topk(lr=lr) for lr in (4e-3, 1e-3, 4e-3)],
    "lr and k": [topk(lr=lr, k=k) for lr in (1e-3, 4e-3) for k in (4, 8)],
    "paper": [topk(recipe="paper", random_state=seed) for seed in range(3)],
    "two layers": [topk(hidden_dim=48, k=k) for k in (4, 8)],
    "two layers, lr": [topk(hidden_dim=48, lr=lr) for lr in (1e-3, 4e-3)],
    "nested": [topk(nested=[16, 40], k=k) for k in (4, 8)],
    "batch_topk": [topk(activation="batch_topk", k=k) for k in (4, 8, 4)],
    "nested batch_topk": [
        topk(nested=[16, 40], activation="batch_topk", k=k) for k in (4, 8)
    ],
    "activation": [topk(activation=a) for a in ("topk", "batch_topk", "topk")],
    "clipping": [topk(recipe=Recipe(max_grad_norm=1e-2), k=k) for k in (4, 8)],
    "clipping, two layers": [
        topk(recipe=Recipe(max_grad_norm=1e-2), hidden_dim=48, k=k) for k in (4, 8)
    ],
    # neither weights nor batches come out even where a processor takes 16 at a time
    "odd sizes": [topk(33, k=k, batch_size=37) for k in (3, 4, 9)],
    "tiny": [topk(5, k=k, batch_size=29) for k in (2, 3, 2)],
    "odd sizes, two layers": [topk(33, hidden_dim=7, k=k) for k in (3, 4)],
}


@pytest.mark.parametrize("sweep", SWEEPS.values(), ids=SWEEPS)
def test_each_equals_its_own_fit(sweep, stack_sizes):
    together = fit_many([clone(sae) for sae in sweep], X)
    assert stack_sizes == [len(sweep)]
    for ours, sae in zip(together, sweep, strict=True):
        assert_same(ours, clone(sae).fit(X))


def test_batches_that_do_not_begin_on_a_cache_line_round_alike():
    rows = X[:, :33]
    sweep = [topk(5, k=k, batch_size=29) for k in (2, 3, 2)]
    together = fit_many(map(clone, sweep), rows)
    for ours, sae in zip(together, sweep, strict=True):
        assert_same(ours, sae.fit(rows))


def test_dead_latents_are_revived_as_in_a_fit_of_its_own(stack_sizes, monkeypatch):
    dead_of_each = []
    list_dead = Objective._list_dead

    def spy(objective):
        list_dead(objective)
        dead_of_each.append([len(dead) for dead in objective.dead])

    monkeypatch.setattr(Objective, "_list_dead", spy)
    settings = {"n_components": 256, "max_epochs": 6, "recipe": Recipe(aux_k=3)}
    sweep = [topk(k=k, **settings) for k in (2, 256, 4)]
    together = fit_many([clone(sae) for sae in sweep], X)
    assert stack_sizes == [3]
    assert max(map(np.ptp, dead_of_each)) > 100
    for ours, sae in zip(together, sweep, strict=True):
        assert_same(ours, clone(sae).fit(X))


@pytest.mark.parametrize("activation", ["topk", "batch_topk"])
def test_equivariant_ones_equal_their_own_fits(activation, turning_orbits, stack_sizes):
    rows, groups, power, _ = turning_orbits
    sweep = [equivariant(k=k, activation=activation) for k in (2, 4)]
    together = fit_many(map(clone, sweep), rows, groups=groups, power=power)
    assert stack_sizes == [2]
    for ours, sae in zip(together, sweep, strict=True):
        theirs = clone(sae).fit(rows, groups=groups, power=power)
        assert_same(ours, theirs)
        matrices = ours.activation_transform_.M_, theirs.activation_transform_.M_
        np.testing.assert_array_equal(*matrices)
        assert ours.symmetry_ == theirs.symmetry_


def test_tied_ones_are_fitted_one_after_another(turning_orbits, stack_sizes):
    rows, groups, power, _ = turning_orbits
    sweep = [
        GroupTiedSAE(26, n_free=2, max_epochs=2, k=k, random_state=0) for k in (2, 3)
    ]
    sweep.append(topk(26))
    together = fit_many(map(clone, sweep), rows, groups=groups, power=power)
    assert stack_sizes == [1, 1, 1]
    for ours, sae in zip(together, sweep, strict=True):
        assert_same(ours, clone(sae).fit(rows, groups=groups, power=power))
    assert together[0].canonical_code_.shape == (24,)


def test_warm_start_goes_on_as_a_fit_of_its_own_does(stack_sizes):
    sweep = [topk(k=k, warm_start=True) for k in (4, 8)]
    together = fit_many([clone(sae) for sae in sweep], X)
    fit_many(together, X)
    assert stack_sizes == [2, 2]
    for ours, sae in zip(together, sweep, strict=True):
        assert ours.n_iter_ == 8
        assert_same(ours, sae.fit(X).fit(X))


def test_warm_start_after_other_rows_is_not_trained_on_the_wrong_ones(stack_sizes):
    gone_on, fresh = topk(warm_start=True), topk()
    expected = clone(gone_on).fit(2 * X + 1).fit(X)
    gone_on.fit(2 * X + 1)
    fit_many([fresh, gone_on], X)
    assert stack_sizes == [1, 1]
    assert_same(gone_on, expected)


def test_those_that_cannot_share_a_step_are_fitted_in_turn(turning_orbits, stack_sizes):
    rows, groups, power, _ = turning_orbits
    sweep = [
        topk(),
        equivariant(),
        topk(48),
        topk(random_state=1),
        topk(batch_size=32),
        topk(max_epochs=2),
        topk(hidden_dim=16),
        topk(nested=[8]),
        topk(recipe="paper"),
        topk(recipe=Recipe(aux_weight=0)),
        topk(recipe=Recipe(lr_decay=0)),
        topk(recipe=Recipe(unit_rows=False)),
        topk(recipe=Recipe(dead_after=2)),
        equivariant(recipe=Recipe(consistency_weight=0)),
        equivariant(activation_transform=None, random_state=1),
    ]
    together = fit_many(map(clone, sweep), rows, groups=groups, power=power)
    assert sorted(stack_sizes) == [1] * 11 + [2] * 2
    for ours, sae in zip(together, sweep, strict=True):
        assert_same(ours, clone(sae).fit(rows, groups=groups, power=power))


def test_a_stack_does_not_grow_without_end(stack_sizes, monkeypatch):
    monkeypatch.setattr(sk_eqsae.sae._many, "_MAX_LATENTS", 2 * 64)
    fit_many([topk(random_state=seed) for seed in range(5)], X)
    assert stack_sizes == [2, 2, 1]


def test_shared_random_state_is_drawn_from_in_turn():
    shared, own = np.random.RandomState(3), np.random.RandomState(3)
    together = fit_many([topk(random_state=shared) for _ in range(2)], X)
    in_turn = [topk(random_state=own).fit(X) for _ in range(2)]
    for ours, theirs in zip(together, in_turn, strict=True):
        assert_same(ours, theirs)


def test_returns_the_estimators_in_their_order():
    sweep = [topk(k=k) for k in (9, 3, 5)]
    together = fit_many((sae for sae in sweep), X)
    assert all(ours is sae for ours, sae in zip(together, sweep, strict=True))
    assert [(sae.transform(X) > 0).sum(1).max() for sae in sweep] == [9, 3, 5]
    assert fit_many([], X) == []


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (topk(k=65), "k=65 is larger than the dictionary"),
        (topk(lr=0.0), "The 'lr' parameter"),
        (topk(nested=[3, 2]), "nested=[3, 2] has to list"),
        (topk(lr=1e30, recipe="paper"), "training diverged"),
    ],
)
def test_errors_say_which_estimator_is_meant(bad, message):
    sweep = [topk(recipe="paper"), topk(k=3, recipe="paper"), bad]
    with pytest.raises(ValueError, match=re.escape(f"estimators[2]: {message}")):
        fit_many(sweep, X)


def test_diverging_one_is_named_with_its_learning_rate():
    sweep = [topk(lr=lr, recipe="paper") for lr in (1e-2, 1e30, 1e-3)]
    with pytest.raises(ValueError, match=r"^estimators\[1\].*lr=1e\+30\."):
        fit_many(sweep, X)


@pytest.mark.parametrize("bad", [topk(k=65), topk(nested=[3, 2])])
def test_an_error_before_training_leaves_all_as_they_were(bad):
    fitted, unfitted = topk(recipe="paper").fit(X), topk(48)
    before = fitted.transform(X)
    with pytest.raises(ValueError, match=r"estimators\[2\]"):
        fit_many([fitted, unfitted, clone(bad)], 100 * X + 50)
    assert np.array_equal(fitted.transform(X), before)
    with pytest.raises(NotFittedError):
        unfitted.transform(X)


def test_one_that_fails_is_as_it_was_and_the_others_are_fitted(stack_sizes):
    """Beside it in a stack, before and after it."""
    sweep = [topk(48), topk(), topk(lr=1e9), topk(lr=4e-3), topk(k=3), topk(40)]
    together = list(map(clone, sweep))
    together[2].set_params(lr=None).fit(X)
    before = together[2].set_params(lr=1e30, recipe="paper").transform(X)
    sweep[1:5] = [clone(sae).set_params(recipe="paper") for sae in sweep[1:5]]
    for i in (1, 3, 4):
        together[i].set_params(recipe="paper")
    with pytest.raises(ValueError, match=r"^estimators\[2\]: training diverged"):
        fit_many(together, X)
    assert sorted(stack_sizes) == [1, 1, 4]
    assert np.array_equal(together[2].transform(X), before)
    for i in (0, 1, 3, 4, 5):
        assert_same(together[i], clone(sweep[i]).fit(X))


def test_same_estimator_twice_is_an_error():
    sae = topk()
    with pytest.raises(ValueError, match=r"estimators\[2\] is estimators\[0\]"):
        fit_many([sae, topk(), sae], X)


def test_other_estimators_are_an_error():
    with pytest.raises(TypeError, match=r"estimators\[1\] is 'sae'"):
        fit_many([topk(), "sae"], X)


def test_interrupt_keeps_the_epochs_done(monkeypatch):
    steps = []
    after_step = Objective.after_step

    def interrupt(objective):
        after_step(objective)
        steps.append(1)
        if len(steps) == 12:  # in the third epoch of 5 batches
            raise KeyboardInterrupt

    monkeypatch.setattr(Objective, "after_step", interrupt)
    sweep = [topk(random_state=seed) for seed in range(2)]
    with pytest.warns(ConvergenceWarning, match="after 2 of 4 epochs"):
        fit_many(sweep, X)
    assert [sae.n_iter_ for sae in sweep] == [2, 2]
    assert all(np.isfinite(sae.score(X)) for sae in sweep)


def test_interrupt_in_the_first_epoch(monkeypatch):
    def interrupt(objective):
        raise KeyboardInterrupt

    monkeypatch.setattr(Objective, "after_step", interrupt)
    sweep = [topk(random_state=seed) for seed in range(2)]
    with pytest.warns(ConvergenceWarning, match="after 0 of 4 epochs"):
        fit_many(sweep, X)
    assert [sae.n_iter_ for sae in sweep] == [0, 0]


def test_one_bar_for_all(capsys):
    fit_many([topk(random_state=0, verbose=1), topk(random_state=1)], X)
    shown = capsys.readouterr().err
    assert "2 TopKSAE" in shown
    assert "epoch=4" in shown


def test_large_dictionaries_are_fitted_in_turn(stack_sizes, monkeypatch):
    monkeypatch.setattr(sk_eqsae.sae._many, "_MAX_ENTRIES", 64 * 64)
    sizes = (64, 65)
    fit_many([topk(n, random_state=seed) for seed in range(2) for n in sizes], X)
    assert sorted(stack_sizes) == [1, 1, 2]
