"""What every estimator promises: scikit-learn's checks and the project's own."""

import pickle
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import Pipeline
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

from sk_eqsae import (
    EquivariantSAE,
    GroupTiedSAE,
    MeanDifferenceSelector,
    OrbitSAE,
    TopKSAE,
)
from sk_eqsae.sae._recipe import SCHEDULES
from tests.instances import (
    AUTOENCODERS,
    BY_DEFAULT,
    CHECKED,
    INSTANCES,
    QUICK,
    WITH_ORBITS,
    name,
)

REFERENCE = (Path(__file__).parents[1] / "docs" / "reference.md").read_text()

every_estimator = pytest.mark.parametrize("estimator", INSTANCES, ids=name)
every_orbit_estimator = pytest.mark.parametrize("estimator", WITH_ORBITS, ids=name)


@pytest.fixture
def orbits(turning_orbits):
    """X, metadata and labels that y-dependent estimators can use."""
    X, groups, power, _ = turning_orbits
    y = (X.sum(axis=1) > np.median(X.sum(axis=1))).astype(int)
    return X, y, {"groups": groups, "power": power}


@pytest.fixture
def sites(orbits):
    """The same orbits, as those of two sites of half as many inputs."""
    X, y, metadata = orbits
    group, site = np.divmod(metadata["groups"], 2)
    return X, y, metadata | {"groups": group, "site": site}


@parametrize_with_checks(CHECKED)
def test_scikit_learn_check(estimator, check):
    check(estimator)


@pytest.mark.filterwarnings("ignore:.* got no groups and power:UserWarning")
@pytest.mark.parametrize("estimator", BY_DEFAULT, ids=name)
def test_every_check_of_scikit_learn_passes_by_default(estimator, monkeypatch):
    """No parameter is set; but the epochs that None stands for are few, as in QUICK.

    The 54 fits of a check would else be 10,000 steps of training, nearly all its time.
    """
    monkeypatch.setitem(SCHEDULES["default"], "max_epochs", QUICK["max_epochs"])
    results = check_estimator(estimator)
    assert {result["status"] for result in results} == {"passed"}


@every_estimator
def test_html_repr_links_to_a_page_of_the_reference(estimator):
    page = estimator._get_doc_link().split("/generated/")[1].removesuffix(".html")
    assert page.removeprefix("sk_eqsae.") in REFERENCE.split()
    assert page in estimator._repr_html_()


@every_estimator
def test_fitted_state_holds_no_torch_objects(estimator, orbits):
    X, y, _ = orbits
    fitted = clone(estimator).fit(X, y)
    assert b"torch" not in pickle.dumps(fitted)
    assert b"skorch" not in pickle.dumps(fitted)


@every_estimator
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_out_is_dtype_in(estimator, dtype, orbits):
    X, y, _ = orbits
    X = X.astype(dtype)
    assert clone(estimator).fit(X, y).transform(X).dtype == dtype


@every_estimator
@pytest.mark.parametrize(
    "halve",
    [
        lambda X: torch.as_tensor(X, dtype=torch.bfloat16),
        lambda X: pd.DataFrame(X.astype(np.float16)),
    ],
    ids=["bfloat16", "frame"],
)
def test_half_precision_comes_out_as_float32(estimator, halve, orbits):
    X, y, _ = orbits
    half = halve(X)
    found = clone(estimator).fit(half, y).transform(half)
    assert found.dtype == np.float32
    tensor = isinstance(half, torch.Tensor)
    single = half.float().numpy() if tensor else np.asarray(half, np.float32)
    assert np.array_equal(clone(estimator).fit(single, y).transform(single), found)


@every_estimator
def test_tensors_work_where_scikit_learn_dispatches_on_them(estimator, orbits):
    X, y, _ = orbits
    expected = clone(estimator).fit(X, y).transform(X)
    with config_context(array_api_dispatch=True):
        fitted = clone(estimator).fit(torch.as_tensor(X), torch.as_tensor(y))
        found = fitted.transform(torch.as_tensor(X))
        has_inverse = hasattr(fitted, "inverse_transform")
        if has_inverse and not isinstance(fitted, MeanDifferenceSelector):
            fitted.inverse_transform(torch.as_tensor(found))
    assert np.array_equal(found, expected)


@every_estimator
def test_masked_entries_are_missing_values(estimator, orbits):
    X, y, _ = orbits
    masked = np.ma.masked_array(X, mask=False)
    fitted = clone(estimator).fit(masked, y)
    masked[[4, 9], 3] = np.ma.masked
    for method in (clone(estimator).fit, fitted.transform):
        arguments = [masked, y] if method.__name__ == "fit" else [masked]
        with pytest.raises(ValueError, match=r"X has missing values .* rows 4, 9"):
            method(*arguments)


@every_estimator
def test_what_is_missing_is_named_in_every_method(estimator, orbits):
    X, y, _ = orbits
    holes = X.astype(object)
    holes[7, 0] = None
    fitted = clone(estimator).fit(X, y)
    for method in (partial(clone(estimator).fit, y=y), fitted.transform):
        with pytest.raises(ValueError, match=r"X has missing values .* in rows 7"):
            method(holes)
    latents = fitted.transform(X).astype(np.float64)
    latents[0, 0] = np.nan
    foreign = isinstance(estimator, MeanDifferenceSelector)
    if hasattr(fitted, "inverse_transform") and not foreign:
        with pytest.raises(ValueError, match=r"Input [XZ] contains NaN"):
            fitted.inverse_transform(latents)


@every_estimator
def test_entries_that_float32_cannot_hold_are_an_error_that_says_so(estimator, orbits):
    if isinstance(estimator, MeanDifferenceSelector) or "PCA" in repr(estimator):
        return  # they do nothing in float32
    X, y, _ = orbits
    fitted = clone(estimator).fit(X, y)
    too_large = X.copy()
    too_large[5, 2] = -1e39
    with pytest.raises(ValueError, match=r"as large as 1e\+39, too large for float32"):
        clone(estimator).fit(too_large, y)
    with pytest.raises(ValueError, match=r"as large as 1e\+39, too large for float32"):
        fitted.transform(too_large)
    ends = (3e38 * np.sign(X)).astype(np.float32)  # latents are larger
    with pytest.raises(ValueError, match=r"as large as 3e\+38, too large for float32"):
        fitted.transform(ends)


@every_orbit_estimator
def test_shuffled_orbit_ids_give_the_same_fit(estimator, orbits):
    X, y, metadata = orbits
    ids = np.random.default_rng(0).permutation(metadata["groups"].max() + 1)
    shuffled = metadata | {"groups": ids[metadata["groups"]]}
    one = clone(estimator).fit(X, y, **metadata).transform(X)
    assert np.array_equal(clone(estimator).fit(X, y, **shuffled).transform(X), one)


@every_orbit_estimator
def test_row_order_inside_an_orbit_does_not_matter(estimator, orbits):
    X, y, metadata = orbits
    rng = np.random.default_rng(0)
    order = np.concatenate([4 * i + rng.permutation(4) for i in range(len(X) // 4)])
    mixed = {key: values[order] for key, values in metadata.items()}
    one = clone(estimator).fit(X, y, **metadata).transform(X)
    two = clone(estimator).fit(X[order], y[order], **mixed).transform(X)
    np.testing.assert_allclose(two, one, atol=1e-5)


SITES = {
    "numbers": lambda site: 5 - 10 * site,
    "texts": lambda site: np.where(site, "door", "window"),
    "a list": lambda site: list(site + 0.5),
    "categories": lambda site: pd.Series(site).astype("category"),
}


@pytest.mark.parametrize(
    ("estimator", "ids", "some_are_missing"),
    [
        *((e, "numbers", missing) for e in WITH_ORBITS for missing in (False, True)),
        *((WITH_ORBITS[0], ids, False) for ids in SITES if ids != "numbers"),
    ],
    ids=lambda value: value if isinstance(value, str | bool) else name(value),
)
def test_sites_are_orbits_whatever_they_are_called(
    estimator, ids, some_are_missing, orbits, sites
):
    """Rows of the sites of an input are mixed, and some are missing."""
    X, y, metadata = orbits
    order = np.argsort(sites[2]["groups"] * 8 + sites[2]["power"], kind="stable")
    order = order[(not some_are_missing) | (order % 16 != 7)]
    flat = {key: values[order] for key, values in metadata.items()}
    told = {key: values[order] for key, values in sites[2].items()}
    told["site"] = SITES[ids](told["site"])
    one, two = (clone(estimator).fit(X[order], y[order], **m) for m in (flat, told))
    assert np.array_equal(one.transform(X), two.transform(X))
    if hasattr(one, "score"):
        assert one.score(X[order], **flat) == two.score(X[order], **told)
    if hasattr(one, "partial_fit"):
        one, two = (clone(one).partial_fit(X[order], **m) for m in (flat, told))
        assert np.array_equal(one.transform(X), two.transform(X))


@pytest.mark.parametrize("estimator", [TopKSAE(8), *WITH_ORBITS], ids=name)
def test_metadata_is_requested_by_fit_only(estimator):
    routing = estimator.get_metadata_routing()
    requests = getattr(routing, "_self_request", routing)
    assert requests.fit.requests == {"groups": True, "power": True, "site": True}
    assert requests.transform.requests == {}


def test_a_plain_autoencoder_takes_metadata_and_needs_none(sites):
    X, _, metadata = sites
    plain, told = TopKSAE(8, **QUICK).fit(X), TopKSAE(8, **QUICK).fit(X, **metadata)
    assert np.array_equal(told.components_, plain.components_)
    assert told.score(X, **metadata) == plain.score(X)
    going_on = [clone(plain).partial_fit(X, **m) for m in ({}, metadata)]
    assert np.array_equal(*(sae.components_ for sae in going_on))


def without(metadata, key):
    return {k: v for k, v in metadata.items() if k != key}


def changed(metadata, key, rows, value):
    values = metadata[key].copy()
    values[rows] = value
    return metadata | {key: values}


@every_orbit_estimator
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda m: without(m, "groups"), "power was given without groups"),
        (lambda m: without(m, "power"), "groups was given without power"),
        (lambda m: changed(m, "groups", [0], 999), r"no row of power 0.*rows 1, 2, 3"),
        (lambda m: changed(m, "power", [5], 0), r"power 0 twice, in rows 4, 5"),
        (lambda m: changed(m, "power", [6], -1), r"found -1 in rows 6"),
        (lambda m: changed(m, "groups", [3], 1), r"orbit 1 has power 3 twice"),
        (lambda m: m | {"site": m["power"]}, r"no row of power 0.*ids 0 at site 1, "),
        (lambda m: m | {"site": np.full(len(m["power"]), np.nan)}, "site has missing"),
        (lambda m: {"site": m["groups"]}, "site was given without groups and power"),
    ],
)
def test_bad_metadata_says_which_rows(estimator, spoil, message, orbits):
    X, y, metadata = orbits
    with pytest.raises(ValueError, match=message):
        clone(estimator).fit(X, y, **spoil(metadata))


@pytest.mark.parametrize(
    "estimator", [e for e in WITH_ORBITS if getattr(e, "symmetry", None)], ids=name
)
def test_a_symmetry_without_metadata_or_against_it_is_an_error(estimator, orbits):
    X, y, metadata = orbits
    with pytest.raises(ValueError, match=r"symmetry=.*4.* needs to know the orbits"):
        clone(estimator).fit(X, y)
    with pytest.raises(ValueError, match=r"0 to 1 \(symmetry=.*2.*\), found [23]"):
        clone(estimator).set_params(symmetry=2).fit(X, y, **metadata)


@pytest.mark.parametrize("hidden_dim", [None, 16])
@pytest.mark.parametrize("recipe", ["default", "paper"])
def test_no_metadata_equals_topk_exactly(hidden_dim, recipe, orbits):
    X, _, _ = orbits
    settings = {"k": 4, "hidden_dim": hidden_dim, "recipe": recipe} | QUICK
    regular, trivial = TopKSAE(24, **settings), EquivariantSAE(24, **settings)
    trivial.set_params(symmetry=1)
    assert np.array_equal(regular.fit(X).transform(X), trivial.fit(X).transform(X))
    assert np.array_equal(regular.components_, trivial.components_)
    assert regular.score(X) == trivial.score(X)
    assert (trivial.predict_power(X) == 0).all()


@pytest.mark.parametrize("hidden_dim", [None, 16])
@pytest.mark.parametrize("activation", ["topk", "batch_topk"])
@pytest.mark.parametrize("recipe", ["default", "paper"])
def test_a_dictionary_tied_by_no_group_equals_topk_exactly(
    hidden_dim, activation, recipe, orbits
):
    X, _, _ = orbits
    settings = {"k": 4, "activation": activation, "recipe": recipe} | QUICK
    settings["hidden_dim"] = hidden_dim
    regular = TopKSAE(24, **settings).fit(X)
    trivial = GroupTiedSAE(24, symmetry=1, n_free=4, **settings).fit(X)
    assert np.array_equal(regular.transform(X), trivial.transform(X))
    assert np.array_equal(regular.components_, trivial.components_)
    assert regular.score(X) == trivial.score(X)


@pytest.mark.parametrize(
    "estimator", [e for e in AUTOENCODERS if e.n_components], ids=name
)
def test_a_fit_that_fails_leaves_an_autoencoder_as_it_was(estimator, orbits):
    X, _, _ = orbits
    sae = clone(estimator).set_params(k=2).fit(X)
    before = sae.transform(X)
    with pytest.raises(ValueError, match="larger than the dictionary"):
        sae.set_params(k=99).fit(100 * X + 50)
    np.testing.assert_array_equal(sae.set_params(k=2).transform(X), before)
    unfitted = clone(estimator).set_params(k=99)
    with pytest.raises(ValueError, match="larger than the dictionary"):
        unfitted.fit(X)
    with pytest.raises(NotFittedError):
        unfitted.transform(X)


@every_orbit_estimator
def test_a_fit_does_not_depend_on_what_transforms_are_told_to_make(estimator, orbits):
    X, y, metadata = orbits
    with config_context(transform_output="pandas"):
        found = clone(estimator).fit(X, y, **metadata)
    expected = clone(estimator).fit(X, y, **metadata)
    np.testing.assert_array_equal(found.transform(X), expected.transform(X))


def probing_pipeline(sae):
    return Pipeline(
        [
            ("sae", sae),
            ("select", MeanDifferenceSelector(4)),
            ("probe", LogisticRegression()),
        ]
    )


def searched(grid, orbits, routing):
    """A search over a pipeline, told the orbits in the way that there is."""
    X, y, metadata = orbits
    pipe = probing_pipeline(TopKSAE())
    search = GridSearchCV(pipe, grid, cv=GroupKFold(3), error_score="raise")
    prefix = "" if routing else "sae__"
    told = {f"{prefix}{name}": values for name, values in metadata.items()}
    with config_context(enable_metadata_routing=routing):
        return search.fit(X, y, **{"groups": metadata["groups"], **told})


@pytest.mark.parametrize("routing", [False, True])
@pytest.mark.parametrize("kind_of_orbits", ["orbits", "sites"])
def test_a_search_may_run_over_kinds_of_autoencoders(routing, kind_of_orbits, request):
    orbits = request.getfixturevalue(kind_of_orbits)
    kinds = [
        TopKSAE(8, **QUICK),
        EquivariantSAE(8, hidden_dim=4, **QUICK),
        GroupTiedSAE(8, symmetry=4, **QUICK),
        OrbitSAE(8, equivariance=1, **QUICK),
    ]
    search = searched({"sae": kinds}, orbits, routing)
    X, y, metadata = orbits
    rows = list(GroupKFold(3).split(X, y, metadata["groups"]))
    for kind, by_hand in enumerate(kinds):
        for fold, (train, test) in enumerate(rows):
            part = {name: values[train] for name, values in metadata.items()}
            sae = clone(by_hand).fit(X[train], **part)
            probe = probing_pipeline(FrozenEstimator(sae)).fit(X[train], y[train])
            found = search.cv_results_[f"split{fold}_test_score"][kind]
            assert found == probe.score(X[test], y[test])
    orders = [getattr(sae.fit(X, **metadata), "order_", None) for sae in kinds]
    assert orders == [None, 4, 4, 4]


@pytest.mark.parametrize("routing", [False, True])
def test_a_search_reaches_what_people_tune(routing, orbits):
    grid = {
        "sae": [EquivariantSAE(8, hidden_dim=4, **QUICK)],
        "sae__lr": [1e-2],
        "sae__max_epochs": [1, 2],
        "sae__batch_size": [32],
    }
    search = searched(grid, orbits, routing)
    assert len(search.cv_results_["params"]) == 2
    best = search.best_estimator_["sae"]
    for parameter in ("lr", "max_epochs", "batch_size"):
        assert getattr(best, parameter) == search.best_params_[f"sae__{parameter}"]
    assert best.order_ == 4
    assert best.n_iter_ == best.max_epochs
