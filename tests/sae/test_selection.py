import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from sk_eqsae import EquivariantSAE, TopKSAE
from sk_eqsae.sae import _base
from sk_eqsae.sae._selection import BatchTopK, Prefixes, Threshold, TopK

ROWS = torch.randn(9, 64, generator=torch.Generator().manual_seed(0))
X = load_digits(return_X_y=True)[0][:300]


def dense(code, n_rows=9, n_components=64):
    latents = torch.zeros(n_rows, n_components)
    rows = code.bags if code.rows is None else code.rows[code.bags]
    latents[rows, code.indices] = code.values
    return latents


def kept(mask):
    return torch.where(mask, ROWS, 0.0).relu()


def test_topk_keeps_the_largest_of_each_row():
    smallest = ROWS.sort(1, descending=True).values[:, 4:5]
    assert torch.equal(dense(TopK(5)(ROWS)), kept(smallest <= ROWS))


def test_batch_topk_keeps_the_largest_of_the_batch():
    smallest = ROWS.flatten().sort(descending=True).values[5 * 9 - 1]
    assert torch.equal(dense(BatchTopK(5)(ROWS)), kept(smallest <= ROWS))


def test_batch_topk_sets_negative_values_to_zero():
    assert dense(BatchTopK(60)(ROWS)).min() == 0


def test_threshold_keeps_what_is_above():
    values = ROWS.round(decimals=0)  # several are equal to the threshold
    code = Threshold(1.0)(values)
    assert (code.values > 1).all()
    assert len(code.values) == (values > 1).sum()


@pytest.mark.parametrize("select", [TopK(5), BatchTopK(5)])
def test_prefixes_split_a_row_into_the_parts_of_the_dictionary(select):
    sizes = [3, 20, 64]
    part = np.repeat([0, 1, 2], np.diff(sizes, prepend=0))
    code = Prefixes(select, part)(ROWS)
    assert torch.equal(dense(code), dense(select(ROWS)))
    part = code.bags % 3
    starts = torch.tensor([0, 3, 20])
    assert (code.indices >= starts[part]).all()
    assert (code.indices < torch.tensor(sizes)[part]).all()
    assert torch.equal(code.offsets.diff(), torch.bincount(code.bags, minlength=27))


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
@pytest.mark.parametrize("estimator", [TopKSAE, EquivariantSAE])
def test_nested_has_to_list_growing_sizes(nested, estimator):
    with pytest.raises(ValueError, match="nested"):
        estimator(16, k=4, nested=nested, max_epochs=1).fit(X)
