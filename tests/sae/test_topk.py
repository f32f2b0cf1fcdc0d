import pickle
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

import sk_eqsae._training
from sk_eqsae import TopKSAE
from sk_eqsae.sae import Recipe

X = load_digits(return_X_y=True)[0][:300]


@pytest.fixture(scope="module")
def sae():
    return TopKSAE(64, k=4, max_epochs=10, random_state=0).fit(X)


def encode_by_hand(sae, rows):
    """Section 3 and Appendix C.3 of the paper, in plain numpy."""
    hidden = (rows - sae.mean_) / sae.scale_
    for coef, intercept in zip(sae.coefs_[:-1], sae.intercepts_[:-1], strict=True):
        hidden = np.maximum(hidden @ coef + intercept, 0)
    latents = hidden @ sae.coefs_[-1] + sae.intercepts_[-1]
    kept = np.argsort(-latents, axis=1)[:, : sae.k]
    Z = np.zeros_like(latents)
    np.put_along_axis(Z, kept, np.take_along_axis(latents, kept, axis=1), axis=1)
    return np.maximum(Z, 0) * sae.scale_


@pytest.mark.parametrize("hidden_dim", [None, 24])
@pytest.mark.parametrize("recipe", ["default", "paper"])
def test_transform_is_the_formula(hidden_dim, recipe):
    sae = TopKSAE(
        64, k=4, hidden_dim=hidden_dim, recipe=recipe, max_epochs=3, random_state=0
    ).fit(X)
    np.testing.assert_allclose(
        sae.transform(X), encode_by_hand(sae, X), rtol=1e-4, atol=1e-3
    )


def test_inverse_transform_is_the_weighted_sum_of_dictionary_rows(sae):
    Z = sae.transform(X)
    np.testing.assert_allclose(
        sae.inverse_transform(Z), Z @ sae.components_ + sae.intercept_
    )


def test_at_most_k_latents_are_active_and_none_is_negative(sae):
    Z = sae.transform(X)
    assert (Z >= 0).all()
    assert (Z > 0).sum(axis=1).max() == 4


def test_score_is_one_minus_the_fraction_of_variance_unexplained(sae):
    residual = X - sae.inverse_transform(sae.transform(X))
    fvu = (residual**2).sum() / ((X - X.mean(axis=0)) ** 2).sum()
    assert sae.score(X) == pytest.approx(1 - fvu, rel=1e-5)


def test_predicting_the_mean_scores_zero(sae):
    mean_only = pickle.loads(pickle.dumps(sae))
    mean_only.components_ = np.zeros_like(sae.components_)
    mean_only.intercept_ = X.mean(axis=0)
    assert mean_only.score(X) == pytest.approx(0, abs=1e-7)


def test_default_recipe_learns_more_than_its_start(sae):
    start = TopKSAE(64, k=4, max_epochs=1, lr=1e-9, random_state=0).fit(X)
    longer = TopKSAE(64, k=4, max_epochs=60, random_state=0).fit(X)
    assert start.score(X) < sae.score(X) < longer.score(X)
    assert longer.score(X) > 0.6


def test_default_recipe_keeps_dictionary_rows_at_norm_one(sae):
    np.testing.assert_allclose(np.linalg.norm(sae.components_, axis=1), 1, rtol=1e-5)


def test_default_recipe_starts_the_encoder_as_the_decoder():
    start = TopKSAE(64, k=4, max_epochs=1, lr=1e-12, random_state=0).fit(X)
    np.testing.assert_allclose(start.coefs_[0], start.components_.T, atol=1e-6)
    assert np.abs(start.intercepts_[0]).max() < 1e-6


@pytest.mark.parametrize(
    ("recipe", "share_at_full_rate"), [("default", 0.7), ("paper", 1.0)]
)
def test_learning_rate_falls_only_under_the_default_recipe(
    recipe, share_at_full_rate, monkeypatch
):
    rates = []
    decay = sk_eqsae._training.Net._decay_lr

    def spy(net, progress):
        decay(net, progress)
        rates.append(net.optimizer_.param_groups[0]["lr"])

    monkeypatch.setattr("sk_eqsae._training.Net._decay_lr", spy)
    TopKSAE(8, k=2, recipe=recipe, batch_size=30, max_epochs=10).fit(X)
    assert len(rates) == 100
    assert np.mean(np.isclose(rates, rates[0])) == pytest.approx(
        share_at_full_rate, abs=0.011
    )
    assert (rates[-1] < 0.05 * rates[0]) == (recipe == "default")


def test_default_recipe_does_not_depend_on_units(sae):
    scaled = TopKSAE(64, k=4, max_epochs=10, random_state=0).fit(X * 1000 + 7)
    assert scaled.score(X * 1000 + 7) == pytest.approx(sae.score(X), abs=1e-3)
    np.testing.assert_allclose(
        scaled.transform(X * 1000 + 7), 1000 * sae.transform(X), rtol=0.1, atol=300
    )


def test_paper_recipe_is_a_plain_torch_loop():
    sae = TopKSAE(32, k=4, recipe="paper", max_epochs=3, random_state=5).fit(X)
    start, order = np.random.RandomState(5).randint(2**31 - 1, size=2).tolist()
    with torch.random.fork_rng():
        torch.manual_seed(start)
        encoder, decoder = torch.nn.Linear(64, 32), torch.nn.Linear(32, 64)
    data = torch.from_numpy(X.astype(np.float32))
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-3)
    generator = torch.Generator().manual_seed(order)
    for _ in range(3):
        for rows in torch.randperm(300, generator=generator).split(64):
            latents = encoder(data[rows])
            values, indices = latents.topk(4, dim=1)
            code = torch.zeros_like(latents).scatter(1, indices, values.relu())
            optimizer.zero_grad()
            (decoder(code) - data[rows]).square().sum(1).mean().backward()
            optimizer.step()
    np.testing.assert_allclose(
        sae.components_.T, decoder.weight.detach(), rtol=1e-3, atol=1e-5
    )
    np.testing.assert_allclose(
        sae.coefs_[0].T, encoder.weight.detach(), rtol=1e-3, atol=1e-5
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sparse_output_equals_dense_output(sae, dtype):
    rows = X.astype(dtype)
    sparse = pickle.loads(pickle.dumps(sae)).set_params(sparse_output=True)
    Z = sparse.transform(rows)
    assert isinstance(Z, csr_array)
    assert Z.dtype == dtype
    assert Z.has_canonical_format
    assert np.array_equal(Z.toarray(), sae.transform(rows))
    assert (Z.data > 0).all()
    np.testing.assert_allclose(
        sae.inverse_transform(Z), sae.inverse_transform(Z.toarray()), atol=1e-4
    )


def test_sparse_output_leaves_later_calls_alone(sae, monkeypatch):
    monkeypatch.setattr("sk_eqsae.sae._base._CHUNK_ENTRIES", 64 * 50)
    dense, sparse = clone(sae), clone(sae).set_params(sparse_output=True)
    for each in (dense, sparse):  # some rows have fewer than k active latents
        each.__dict__.update({k: v for k, v in vars(sae).items() if k.endswith("_")})
        each.intercepts_ = [sae.intercepts_[0] - 4]
    before = dense.transform(X)
    assert ((before > 0).sum(axis=1) < sae.k).any()
    for _ in range(2):
        assert np.array_equal(sparse.transform(X).toarray(), before)
    assert np.array_equal(dense.transform(X), before)


def test_chunks_do_not_change_the_result(sae, monkeypatch):
    whole, score = sae.transform(X), sae.score(X)
    monkeypatch.setattr("sk_eqsae.sae._base._CHUNK_ENTRIES", 64 * 7)
    np.testing.assert_allclose(sae.transform(X), whole, rtol=1e-4, atol=1e-4)
    assert sae.score(X) == pytest.approx(score)


def test_same_seed_same_fit_to_the_bit_and_global_state_untouched(sae):
    torch_state = torch.get_rng_state()
    numpy_state = np.random.get_state()[1].copy()  # noqa: NPY002
    again = TopKSAE(64, k=4, max_epochs=10, random_state=0).fit(X)
    assert np.array_equal(again.components_, sae.components_)
    assert np.array_equal(again.loss_curve_, sae.loss_curve_)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
    other = TopKSAE(64, k=4, max_epochs=10, random_state=1).fit(X)
    assert not np.array_equal(other.components_, sae.components_)


@pytest.mark.parametrize(
    "copy",
    [
        lambda sae, path: pickle.loads(pickle.dumps(sae)),
        lambda sae, path: joblib.load(joblib.dump(sae, path / "sae.joblib")[0]),
        lambda sae, path: joblib.load(
            joblib.dump(sae, path / "sae.joblib")[0], mmap_mode="r"
        ),
    ],
    ids=["pickle", "joblib", "joblib-memmap"],
)
def test_stored_estimator_transforms_the_same_to_the_bit(sae, copy, tmp_path):
    assert np.array_equal(copy(sae, tmp_path).transform(X), sae.transform(X))


def test_fitted_state_is_arrays_and_plain_values(sae):
    kinds = {type(v) for k, v in vars(sae).items() if k.endswith("_")}
    assert kinds <= {np.ndarray, list, float, int}


def test_warm_start_goes_on_from_the_last_fit():
    sae = TopKSAE(64, k=4, max_epochs=5, warm_start=True, random_state=0).fit(X)
    first = sae.score(X)
    components = sae.components_.copy()
    sae.set_params(lr=1e-12, max_epochs=1).fit(X)
    np.testing.assert_allclose(sae.components_, components, atol=1e-5)
    assert sae.score(X) == pytest.approx(first, abs=1e-4)
    sae.set_params(lr=1e-3, max_epochs=20).fit(X)
    assert sae.score(X) > first
    assert sae.n_iter_ == len(sae.loss_curve_) == len(sae.error_curve_) == 26


def test_error_curve_is_the_loss_without_what_the_recipe_adds():
    still = {"k": 4, "lr": 1e-12, "max_epochs": 2, "random_state": 0}
    plain = TopKSAE(64, recipe=Recipe(aux_weight=0), **still).fit(X)
    np.testing.assert_array_equal(plain.error_curve_, plain.loss_curve_)
    reviving = TopKSAE(64, recipe=Recipe(dead_after=0.5), **still).fit(X)
    np.testing.assert_allclose(reviving.error_curve_, plain.error_curve_, rtol=1e-6)
    assert reviving.loss_curve_[-1] > 1.1 * reviving.error_curve_[-1]


def test_warm_start_with_another_size_is_an_error(sae):
    changed = pickle.loads(pickle.dumps(sae))
    changed.set_params(warm_start=True, n_components=65)
    with pytest.raises(ValueError, match=r"goes on with the 64 latents.*65"):
        changed.fit(X)


def test_warm_start_with_another_hidden_layer_is_an_error(sae):
    changed = pickle.loads(pickle.dumps(sae))
    changed.set_params(warm_start=True, hidden_dim=9)
    with pytest.raises(ValueError, match=r"and 0 hidden units.*ask for 64 and 9"):
        changed.fit(X)


def test_interrupted_fit_keeps_the_epochs_done(monkeypatch):
    after_step = sk_eqsae.sae._objective.Objective.after_step

    def interrupt(module):
        after_step(module)
        module.steps = getattr(module, "steps", 0) + 1
        if module.steps == 6:  # the first call initialises; 2 batches an epoch
            raise KeyboardInterrupt

    monkeypatch.setattr("sk_eqsae.sae._objective.Objective.after_step", interrupt)
    with pytest.warns(ConvergenceWarning, match="interrupted after 2 of 9 epochs"):
        sae = TopKSAE(64, k=4, max_epochs=9, random_state=0).fit(X)
    assert sae.n_iter_ == 2
    assert np.isfinite(sae.score(X))


def test_diverging_fit_names_the_learning_rate():
    with pytest.raises(ValueError, match=r"diverged.*lr=1e\+30"):
        TopKSAE(64, k=4, max_epochs=5, lr=1e30, recipe="paper", random_state=0).fit(X)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 65}, "k=65 is larger than the dictionary of 64 latents"),
        ({"n_components": None, "k": 513}, "dictionary of 512 latents"),
        ({"k": 0}, "The 'k' parameter"),
        ({"lr": 0.0}, "The 'lr' parameter"),
        ({"recipe": "good"}, "The 'recipe' parameter"),
        ({"hidden_dim": 1.5}, "The 'hidden_dim' parameter"),
    ],
)
def test_bad_parameters(changes, message):
    with pytest.raises(ValueError, match=message):
        TopKSAE(**{"n_components": 64, "k": 4} | changes).fit(X)


def with_entry(value):
    bad = X.copy()
    bad[3, 2] = value
    return bad


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (with_entry(np.nan), ValueError, "contains NaN"),
        (with_entry(np.inf), ValueError, "contains infinity"),
        (X[0], ValueError, "Expected 2D array"),
        (X[:0], ValueError, "minimum of 1 is required"),
        (csr_array(X), TypeError, "Sparse data was passed"),
        (X.astype(complex), ValueError, "Complex data not supported"),
        (X.astype(str).astype(object)[:, :3] + "a", ValueError, "could not convert"),
    ],
    ids=["nan", "inf", "1d", "empty", "sparse", "complex", "object"],
)
def test_bad_input(sae, bad, error, message):
    for method in (TopKSAE(64, k=4, max_epochs=1).fit, sae.transform):
        with pytest.raises(error, match=message):
            method(bad)


def test_wrong_width(sae):
    with pytest.raises(ValueError, match="X has 63 features, but TopKSAE"):
        sae.transform(X[:, 1:])
    with pytest.raises(ValueError, match="Z has 3 columns, but TopKSAE has 64 latents"):
        sae.inverse_transform(np.ones((2, 3)))


def test_constant_input_is_reproduced():
    constant = np.full((20, 3), 5.0)
    sae = TopKSAE(8, k=2, max_epochs=2, random_state=0).fit(constant)
    decoded = sae.inverse_transform(sae.transform(constant))
    np.testing.assert_allclose(decoded, constant, atol=0.02)


def test_rounding_of_constant_input_is_no_scale():
    sae = TopKSAE(8, k=2, max_epochs=2, random_state=0).fit(np.full((30, 4), 0.1))
    assert sae.scale_ == 1


@pytest.mark.parametrize("scale", [1e-30, 1e30])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_units(scale, dtype, sae):
    rows = (X * scale).astype(dtype)
    extreme = TopKSAE(64, k=4, max_epochs=10, random_state=0).fit(rows)
    assert np.isfinite(extreme.transform(rows)).all()
    assert extreme.score(rows) == pytest.approx(sae.score(X), abs=1e-3)


def test_set_output_and_names(sae):
    frame = pd.DataFrame(X).add_prefix("unit")
    named = TopKSAE(8, k=2, max_epochs=1, random_state=0).set_output(transform="pandas")
    Z = named.fit_transform(frame)
    assert list(Z.columns) == [f"topksae{i}" for i in range(8)]
    assert list(named.feature_names_in_) == list(frame.columns)


def test_progress_bar_only_when_asked(capsys):
    TopKSAE(8, k=2, max_epochs=2, verbose=1).fit(X)
    assert "epoch=2" in capsys.readouterr().err
    TopKSAE(8, k=2, max_epochs=2).fit(X)
    assert capsys.readouterr().err == ""


def test_groups_and_power_are_taken_and_change_nothing(sae):
    orbits = {"groups": np.arange(300) // 4, "power": np.arange(300) % 4}
    settings = {"k": 4, "max_epochs": 2, "random_state": 0}
    fitted = TopKSAE(64, **settings).fit(X, **orbits)
    plain = TopKSAE(64, **settings).fit(X)
    np.testing.assert_array_equal(fitted.components_, plain.components_)
    fitted.partial_fit(X, **orbits)
    plain.partial_fit(X)
    np.testing.assert_array_equal(fitted.components_, plain.components_)
    assert fitted.score(X, **orbits) == plain.score(X)


def test_no_warning_in_normal_use():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TopKSAE(8, k=2, max_epochs=2).fit(X).transform(X)
