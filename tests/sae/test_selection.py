import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits

from sk_eqsae import EquivariantSAE, GroupTiedSAE, TopKSAE
from sk_eqsae.sae import _base

X = load_digits(return_X_y=True)[0][:300]


@pytest.fixture(scope="module")
def batch_sae():
    return TopKSAE(64, k=4, activation="batch_topk", max_epochs=10, random_state=0).fit(
        X
    )


def test_batch_topk_keeps_k_latents_on_average_after_the_fit(batch_sae):
    active = (batch_sae.transform(X) > 0).sum(axis=1)
    assert active.mean() == pytest.approx(4, rel=0.05)
    assert active.std() > 0.5


def test_batch_topk_keeps_what_is_above_its_threshold(batch_sae):
    latents = (X - batch_sae.mean_) / batch_sae.scale_ @ batch_sae.coefs_[0]
    latents = (latents + batch_sae.intercepts_[0]) * batch_sae.scale_
    expected = np.where(latents > batch_sae.threshold_, latents, 0)
    clear = np.abs(latents - batch_sae.threshold_) > 1e-3
    Z = batch_sae.transform(X)
    np.testing.assert_allclose(Z[clear], expected[clear], atol=1e-3)


def test_the_threshold_is_that_of_all_rows_however_they_are_cut(monkeypatch):
    monkeypatch.setattr(_base, "_CHUNK_ENTRIES", 64 * 256)  # of the last one, one row
    rows = np.concatenate([X[:256], 1e-3 * X[:1]])
    sae = TopKSAE(64, k=4, activation="batch_topk", max_epochs=5, random_state=0)
    active = (sae.fit(rows).transform(rows) > 0).sum(axis=1)
    assert active.mean() == pytest.approx(4, rel=0.1)


def test_a_fit_by_topk_keeps_no_threshold_of_an_earlier_one():
    sae = TopKSAE(64, k=4, activation="batch_topk", max_epochs=2, random_state=0)
    sae.fit(X).set_params(activation="topk").fit(100 * X)
    assert not hasattr(sae, "threshold_")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"k": 65}, "k=65 was set after a fit with 64 latents"),
        ({"k": 0}, "k=0 was set after a fit with 64 latents"),
        ({"activation": "batch_topk"}, "has no threshold_. Call fit again"),
    ],
)
def test_what_is_set_after_a_fit_has_to_go_with_it(changed, message):
    sae = TopKSAE(64, k=4, max_epochs=2, random_state=0).fit(X)
    sae.set_params(k=64).transform(X)
    sae.set_params(**changed)
    for use in (lambda: sae.transform(X), lambda: sae.score(X), sae.to_module):
        with pytest.raises(ValueError, match=message):
            use()


def pre_activations(sae, rows):
    latents = (rows - sae.mean_) / sae.scale_ @ sae.coefs_[0] + sae.intercepts_[0]
    return np.sort((latents * sae.scale_).ravel())


@pytest.mark.parametrize("kind", [TopKSAE, GroupTiedSAE])
@pytest.mark.parametrize("seed", range(3))
def test_the_threshold_is_half_way_between_two_latents(kind, seed):
    """Or rounding would decide whether the one that it equals is active."""
    rng = np.random.default_rng(seed)
    rows = 37 * rng.normal(size=(200, 8)) + 500 * rng.normal(size=8)
    symmetry = {} if kind is TopKSAE else {"symmetry": 1}
    sae = kind(16, k=2, activation="batch_topk", max_epochs=5, random_state=0)
    sae.set_params(**symmetry).fit(rows)
    kept, dropped = pre_activations(sae, rows)[[-2 * 200, -2 * 200 - 1]]
    assert sae.threshold_ == pytest.approx((kept + dropped) / 2, rel=1e-4)
    each = np.vstack([sae.transform(row[None]) for row in rows])
    np.testing.assert_allclose(each, sae.transform(rows), rtol=1e-4, atol=0.01)
    module = sae.to_module().encode(torch.tensor(rows, dtype=torch.float32))
    np.testing.assert_allclose(
        module.detach(), sae.transform(rows), rtol=1e-2, atol=0.05
    )


@pytest.mark.parametrize("recipe", ["default", "paper"])
def test_where_all_latents_are_kept_the_threshold_is_below_them(recipe):
    sae = TopKSAE(8, k=8, activation="batch_topk", recipe=recipe, max_epochs=2)
    sae.fit(X)
    kept = pre_activations(sae, X)[-8 * len(X)]
    assert sae.threshold_ == pytest.approx(max(kept, 0) / 2, abs=1e-4)


def test_k_that_is_set_after_a_fit_by_batch_topk_asks_for_another():
    sae = TopKSAE(64, k=4, activation="batch_topk", max_epochs=2, random_state=0)
    sae.fit(X).set_params(k=1)
    for use in (lambda: sae.transform(X), lambda: sae.score(X), sae.to_module):
        with pytest.raises(ValueError, match=r"keeps k=4 latents .* Call fit again"):
            use()
    assert (sae.fit(X).transform(X) > 0).sum(axis=1).mean() < 1.5
    sae.set_params(k=3, activation="topk")
    assert (sae.transform(X) > 0).sum(axis=1).max() == 3


@pytest.mark.parametrize(("n_components", "k"), [(64, 32), (20, 20)])
def test_k_is_32_or_as_many_latents_as_there_are(n_components, k):
    sae = TopKSAE(n_components, max_epochs=1, random_state=0).fit(X)
    assert sae.to_module().k == k
    expected = TopKSAE(n_components, k=k, max_epochs=1, random_state=0).fit(X)
    np.testing.assert_array_equal(sae.transform(X), expected.transform(X))
    np.testing.assert_array_equal(sae.components_, expected.components_)


def test_batch_topk_codes_a_row_alone_as_in_a_batch(batch_sae):
    np.testing.assert_allclose(
        batch_sae.transform(X[:1]), batch_sae.transform(X)[:1], rtol=1e-5, atol=1e-5
    )


def test_batch_topk_csr_equals_dense(batch_sae):
    batch_sae.set_params(sparse_output=True)
    sparse = batch_sae.transform(X)
    batch_sae.set_params(sparse_output=False)
    assert (sparse.data > 0).all()
    assert np.array_equal(sparse.toarray(), batch_sae.transform(X))


def prefix_score(sae, size):
    Z = sae.transform(X)
    Z[:, size:] = 0
    residual = X - sae.inverse_transform(Z)
    return 1 - np.square(residual).sum() / np.square(X - X.mean(axis=0)).sum()


def test_nested_dictionary_puts_useful_latents_first():
    settings = {"n_components": 64, "k": 4, "max_epochs": 40, "random_state": 0}
    plain, nested = TopKSAE(**settings), TopKSAE(**settings, nested=[8, 64])
    for sae in (plain, nested):
        sae.fit(X)
    assert prefix_score(nested, 8) > prefix_score(plain, 8) + 0.1
    assert nested.score(X) > 0.6


def test_nested_with_one_prefix_of_everything_changes_nothing():
    settings = {"n_components": 16, "k": 4, "max_epochs": 2, "random_state": 0}
    one, none = TopKSAE(**settings, nested=[16]), TopKSAE(**settings)
    assert np.array_equal(one.fit(X).components_, none.fit(X).components_)


@pytest.mark.parametrize("nested", [[0, 8], [8, 4], [4, 17], [[1, 2]], ["a"]])
@pytest.mark.parametrize("sae", [TopKSAE(16, k=4), EquivariantSAE(16, symmetry=1, k=4)])
def test_nested_has_to_list_growing_sizes(nested, sae):
    with pytest.raises(ValueError, match="nested"):
        clone(sae).set_params(nested=nested, max_epochs=1).fit(X)
