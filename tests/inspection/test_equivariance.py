import warnings
from dataclasses import replace

import numpy as np
import pytest
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics import r2_score

from sk_eqsae import ActivationTransformFitter, EquivariantSAE, TopKSAE
from sk_eqsae.activations import Orbits
from sk_eqsae.groups import CyclicGroup, DihedralGroup
from sk_eqsae.inspection import (
    equivariance_report,
    fvu,
    r2_per_feature,
)
from sk_eqsae.inspection._bootstrap import errors_by_orbit, interval, r2_of_resamples
from sk_eqsae.inspection._ceiling import LinearThenMLP, default_ceiling
from sk_eqsae.inspection._equivariance import pairs_by_element, predicted
from tests.inspection.representations import regular_representation

FAST = {"ceiling": Ridge(1e-6), "n_bootstrap": 200, "random_state": 0}


def cyclic_orbits(*, noise=0.3, n_orbits=200, order=3, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n_orbits, 2 * order)) * np.arange(1, 2 * order + 1)
    X = np.stack([np.roll(x, 2 * p, axis=1) for p in range(order)], axis=1)
    X = X + noise * rng.normal(size=X.shape)
    groups, power = np.indices(X.shape[:2])
    return Orbits(X.reshape(-1, 2 * order), groups.ravel(), power.ravel())


def metadata(orbits):
    return {"groups": orbits.groups, "power": orbits.power}


def fitted(orbits):
    return ActivationTransformFitter().fit(orbits.X, **metadata(orbits))


def column(report, name):
    return report[report["map"] == name].set_index("power")


@pytest.fixture(scope="module")
def parts():
    return cyclic_orbits().split(random_state=0)


@pytest.fixture(scope="module")
def report(parts):
    return equivariance_report(*parts, **FAST)


def test_r2_per_feature_is_that_of_scikit_learn(parts):
    train, test = parts
    fitter = fitted(train)
    table = r2_per_feature(fitter, test.X, **metadata(test))
    orbits = test.X.reshape(-1, 3, 6)
    for p in (1, 2):
        predicted = fitter.act(orbits[:, 0], p)
        expected = r2_score(orbits[:, p], predicted, multioutput="raw_values")
        np.testing.assert_allclose(table.loc[p], expected)
        weighted = np.average(table.loc[p], weights=orbits[:, p].var(axis=0))
        assert weighted == pytest.approx(1 - fvu(orbits[:, p], predicted))


def test_features_without_variance_have_no_r2_and_names_are_kept(parts):
    pd = pytest.importorskip("pandas")
    _, test = parts
    X = pd.DataFrame(test.X, columns=list("abcdef")).assign(g=1.0)
    fitter = ActivationTransformFitter().fit(X, **metadata(test))
    table = r2_per_feature(fitter, X, **metadata(test))
    assert table.columns.tolist() == list("abcdefg")
    assert table.isna().sum().tolist() == [0] * 6 + [2]


def test_report_has_each_map_and_power_and_their_mean(report):
    assert report.columns.tolist() == ["map", "power", "r2", "low", "high"]
    assert report["map"].unique().tolist() == ["M", "nonlinear", "identity", "shuffled"]
    for _, rows in report.groupby("map"):
        assert rows["power"].tolist() == [1, 2, "mean"]
        assert rows["r2"].iloc[2] == pytest.approx(rows["r2"].iloc[:2].mean())


def test_report_scores_held_out_orbits(parts, report):
    train, test = parts
    fitter, orbits = fitted(train), test.X.reshape(-1, 3, 6)
    expected = fitter.r2_per_power(test.X, **metadata(test))
    np.testing.assert_allclose(column(report, "M")["r2"].iloc[:2], expected)
    identity = [1 - fvu(orbits[:, p], orbits[:, 0]) for p in (1, 2)]
    np.testing.assert_allclose(column(report, "identity")["r2"].iloc[:2], identity)
    seen = train.X.reshape(-1, 3, 6)
    for p in (1, 2):
        free = Ridge(1e-6).fit(seen[:, 0], seen[:, p]).predict(orbits[:, 0])
        nonlinear = column(report, "nonlinear")["r2"][p]
        assert nonlinear == pytest.approx(1 - fvu(orbits[:, p], free))


def test_shuffled_orbits_explain_nothing(report):
    mean = report[report["power"] == "mean"].set_index("map")["r2"]
    assert mean["M"] > 0.95
    assert mean["shuffled"] < 0.1


def test_shuffling_moves_rows_between_orbits_of_the_training_part_only(parts):
    seen = []

    class Recorder(ActivationTransformFitter):
        def fit(self, X, y=None, *, groups=None, power=None):
            seen.append((X, groups, power))
            return super().fit(X, y, groups=groups, power=power)

    train, test = parts
    equivariance_report(train, test, activation_transform=Recorder(), **FAST)
    (_, groups, _), (X, shuffled, power) = seen
    np.testing.assert_array_equal(groups, train.groups)
    np.testing.assert_array_equal(X, train.X)
    np.testing.assert_array_equal(shuffled[power == 0], groups[power == 0])
    for p in (1, 2):
        assert (shuffled[power == p] != groups[power == p]).mean() > 0.9
        assert set(shuffled[power == p]) == set(groups)


def test_interval_holds_the_estimate_and_narrows_with_more_orbits(report):
    wide = equivariance_report(
        *cyclic_orbits(n_orbits=40).split(random_state=0), **FAST
    )
    for table in (wide, report):
        assert (table["low"] <= table["r2"]).all()
        assert (table["r2"] <= table["high"]).all()
    width = [column(t, "M").eval("high - low")["mean"] for t in (wide, report)]
    assert width[0] > 1.5 * width[1]


def test_interval_is_the_bootstrap_over_orbits(parts, report):
    train, test = parts
    orbits, rng = test.X.reshape(-1, 3, 6), np.random.default_rng(1)
    predicted = fitted(train).act(orbits[:, 0], 1)
    draws = rng.integers(len(orbits), size=(500, len(orbits)))
    r2 = [1 - fvu(orbits[d, 1], predicted[d]) for d in draws]
    low, high = column(report, "M").loc[1, ["low", "high"]]
    width = high - low
    np.testing.assert_allclose(
        [low, high], np.quantile(r2, [0.025, 0.975]), atol=0.25 * width
    )


def test_r2_of_a_resample_is_that_of_the_repeated_rows():
    orbits = cyclic_orbits(n_orbits=20)
    kept = (orbits.power != 2) | (orbits.groups % 3 > 0)
    fitter = fitted(orbits)
    told = {name: values[kept] for name, values in metadata(orbits).items()}
    pairs = pairs_by_element(fitter, orbits.X[kept], **told)
    counts = np.random.default_rng(0).multinomial(20, np.full(20, 0.05), size=5)
    moved = {p.power: predicted(fitter, p) for p in pairs}
    errors = errors_by_orbit(lambda p: moved[p.power], pairs)[np.newaxis]
    for resample, r2 in zip(
        counts, r2_of_resamples(pairs, errors, counts), strict=True
    ):
        expected = [
            1 - fvu(p.moved[rows], moved[p.power][rows])
            for p in pairs
            for rows in [np.repeat(np.arange(len(p.orbits)), resample[p.orbits])]
        ]
        np.testing.assert_allclose(r2[0], expected)


def lacking_rows(orbits, power, *, n_orbits):
    """Only so many of the orbits keep their row of this power."""
    orphans = np.unique(orbits.groups)[n_orbits:]
    kept = (orbits.power != power) | ~np.isin(orbits.groups, orphans)
    return Orbits(orbits.X[kept], orbits.groups[kept], orbits.power[kept])


def resampled_by_hand(fitter, orbits, n_resamples):
    """R2 of powers 1 and 2, NaN where a resample has less than two different rows."""
    places = zip(orbits.groups.tolist(), orbits.power.tolist(), strict=True)
    row = dict(zip(places, orbits.X, strict=True))
    ids, rng = np.unique(orbits.groups), np.random.default_rng(2)
    samples = np.full((n_resamples, 2), np.nan)
    for sample in samples:
        drawn = rng.choice(ids, len(ids)).tolist()
        for p in (1, 2):
            known = [i for i in drawn if (i, p) in row]
            if len(set(known)) > 1:
                x, moved = (np.stack([row[i, q] for i in known]) for q in (0, p))
                sample[p - 1] = 1 - fvu(moved, fitter.act(x, p))
    return samples


@pytest.mark.parametrize("n_orbits", [2, 3, 6])
def test_interval_is_over_the_resamples_that_have_a_variance(parts, n_orbits):
    train, test = parts
    few = np.isin(test.groups, np.unique(test.groups)[:20])
    test = Orbits(test.X[few], test.groups[few], test.power[few])
    test = lacking_rows(test, 2, n_orbits=n_orbits)
    settings = FAST | {"n_bootstrap": 1000}
    report = column(equivariance_report(train, test, **settings), "M")
    samples = resampled_by_hand(fitted(train), test, 600)
    samples = np.column_stack([samples, samples.mean(axis=1)])
    ends = np.nanquantile(samples, [0.025, 0.975], axis=0)
    found = report[["low", "high"]].to_numpy(dtype=float).T
    np.testing.assert_allclose(1 - found, 1 - ends, rtol=0.35)
    assert (report["low"] <= report["r2"]).all()
    assert (report["high"] < 1).all()
    assert report["r2"]["mean"] == pytest.approx(report["r2"].iloc[:2].mean())


@pytest.mark.filterwarnings("error")
def test_a_power_without_variance_has_no_r2_and_no_part_in_the_mean(parts):
    train, test = parts
    one = equivariance_report(train, lacking_rows(test, 2, n_orbits=1), **FAST)
    whole = equivariance_report(*parts, **FAST)
    for name in ("M", "nonlinear", "identity", "shuffled"):
        rows = column(one, name)[["r2", "low", "high"]]
        assert rows.loc[2].isna().all()
        np.testing.assert_array_equal(rows.loc["mean"], rows.loc[1])
        np.testing.assert_allclose(
            rows.loc[1].astype(float),
            column(whole, name).loc[1, ["r2", "low", "high"]].astype(float),
        )


@pytest.mark.filterwarnings("error")
def test_constant_activations_have_no_r2(parts):
    parts = [Orbits(np.full_like(p.X, 0.1), p.groups, p.power) for p in parts]
    report = equivariance_report(*parts, **FAST)
    assert report[["r2", "low", "high"]].isna().all(axis=None)
    fitter = fitted(parts[0])
    table = r2_per_feature(fitter, parts[1].X, **metadata(parts[1]))
    assert table.isna().all(axis=None)


@pytest.mark.parametrize("copies", [1, 2, 5, 40])
def test_copies_of_one_row_have_no_r2(copies):
    orbits = cyclic_orbits(n_orbits=40)
    orbits = Orbits(orbits.X + 0.1, orbits.groups, orbits.power)
    fitter = fitted(orbits)
    pairs = pairs_by_element(fitter, orbits.X, **metadata(orbits))
    errors = errors_by_orbit(lambda p: predicted(fitter, p), pairs)[np.newaxis]
    one, two = copies * np.eye(40, dtype=int), copies * np.eye(40, dtype=int)
    two[:, 7] += 1
    assert np.isnan(r2_of_resamples(pairs, errors, np.zeros((1, 40), dtype=int))).all()
    assert np.isnan(r2_of_resamples(pairs, errors, one)).all()
    assert np.isnan(r2_of_resamples(pairs, errors, two)).any(axis=(1, 2)).sum() == 1


@pytest.mark.filterwarnings("error")
def test_an_interval_of_hardly_any_resample_is_none():
    samples = np.tile(np.arange(100.0), (1, 2, 1)).T
    samples[9:, 0] = np.nan
    samples[10:, 1] = np.nan
    low, high = interval(samples, 0.5)
    np.testing.assert_allclose(low[:, 0], [np.nan, 2.25])
    np.testing.assert_allclose(high[:, 0], [np.nan, 6.75])


def test_confidence_level_widens_the_interval(parts, report):
    sure = equivariance_report(*parts, confidence_level=0.999, **FAST)
    assert (sure["high"] - sure["low"] > report["high"] - report["low"]).all()


@pytest.mark.filterwarnings("ignore:M is not to be trusted. it explains less")
def test_ceiling_shows_what_a_linear_map_misses():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 2))
    other = np.column_stack([x[:, 1], np.abs(x[:, 0])])
    X = np.stack([x, other], axis=1).reshape(-1, 2)
    groups, power = (i.ravel() for i in np.indices((600, 2)))
    parts = Orbits(X, groups, power).split(random_state=0)
    report = equivariance_report(*parts, n_bootstrap=50, random_state=0)
    nonlinear, linear = (column(report, name).loc[1] for name in ("nonlinear", "M"))
    assert nonlinear["low"] > 0.8
    assert linear["high"] < 0.6


def test_ceiling_keeps_the_network_only_where_it_helps():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 20))
    Y = X @ rng.normal(size=(20, 3)) + rng.normal(size=(1000, 3))
    ids = {"groups": np.arange(1000)}
    search = default_ceiling(np.random.RandomState(0)).fit(X, Y, **ids)
    assert search.best_params_ == {"n_epochs": 0}
    search = default_ceiling(np.random.RandomState(0))
    search = search.fit(X, np.abs(X[:, :3]), **ids)
    assert search.best_params_ == {"n_epochs": 40}


def test_ceiling_without_network_is_least_squares():
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(100, 4)), rng.normal(size=(100, 2))
    exact = LinearRegression().fit(X, X @ np.ones((4, 2))).predict(X)
    ceiling = LinearThenMLP(n_epochs=0).fit(X, X @ np.ones((4, 2)))
    np.testing.assert_allclose(ceiling.predict(X), exact, atol=1e-5)
    assert LinearThenMLP(random_state=0).fit(X, Y).score(X, Y) > ceiling.score(X, Y)


def test_same_seed_same_report(parts, report):
    again = equivariance_report(*parts, **FAST)
    assert again.equals(report)
    other = equivariance_report(*parts, **FAST | {"random_state": 1})
    assert not other.equals(report)


def test_frozen_transform_is_taken_as_it_is(parts):
    train, test = parts
    fitter = fitted(train)
    fitter.M_ = np.eye(6)
    frozen = FrozenEstimator(fitter)
    report = equivariance_report(train, test, activation_transform=frozen, **FAST)
    maps = [column(report, name)["r2"] for name in ("M", "identity", "shuffled")]
    np.testing.assert_allclose(maps[0], maps[1])
    assert not np.allclose(maps[0], maps[2])


def test_groups_with_several_generators():
    group = DihedralGroup(3)
    matrices, _ = regular_representation(group)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, matrices.shape[1]))
    X = np.concatenate([x @ M.T for M in matrices])
    groups, power = np.tile(np.arange(80), 6), np.repeat(group.powers, 80, axis=0)
    train, test = (
        Orbits(X[rows], groups[rows], power[rows], group)
        for rows in (groups < 60, groups >= 60)
    )
    fitter = ActivationTransformFitter(symmetry=group)
    report = equivariance_report(train, test, activation_transform=fitter, **FAST)
    powers = column(report, "M").index.tolist()
    assert powers == [(0, 1), (1, 0), (1, 1), (2, 0), (2, 1), "mean"]
    assert (column(report, "M")["r2"] > 0.999).all()
    fitter.fit(train.X, **metadata(train))
    table = r2_per_feature(fitter, test.X, **metadata(test))
    assert table.index.tolist() == powers[:-1]


@pytest.mark.parametrize("lacking", [0, 1])
def test_powers_that_a_part_lacks_are_left_out(parts, lacking):
    parts = list(parts)
    X, groups, power = (getattr(parts[lacking], n) for n in ("X", "groups", "power"))
    kept = power != 2
    parts[lacking] = Orbits(X[kept], groups[kept], power[kept])
    adam = ActivationTransformFitter(3, solver="adam", max_epochs=2, random_state=0)
    report = equivariance_report(*parts, activation_transform=adam, **FAST)
    assert column(report, "M").index.tolist() == [1, "mean"]


def powers_of(part, *powers):
    kept = np.isin(part.power, powers)
    return Orbits(part.X[kept], part.groups[kept], part.power[kept], part.symmetry)


def test_no_common_power_is_an_error(parts):
    train, test = powers_of(parts[0], 0, 1), powers_of(parts[1], 0, 2)
    for fitter in (None, ActivationTransformFitter(3)):
        with pytest.raises(ValueError, match=r"train has 1, test 2\. Split whole orb"):
            equivariance_report(train, test, activation_transform=fitter, **FAST)


def in_group(orbits, group):
    return Orbits(orbits.X, orbits.groups, orbits.power, group)


def test_by_default_m_obeys_the_group_of_the_orbits():
    orbits = powers_of(cyclic_orbits(order=4), 0, 1, 2)
    parts = in_group(orbits, CyclicGroup(4)).split(random_state=0)
    report = equivariance_report(*parts, **FAST)
    right = ActivationTransformFitter(symmetry=CyclicGroup(4))
    assert report.equals(
        equivariance_report(*parts, activation_transform=right, **FAST)
    )
    assert (column(report, "M")["r2"] > 0.9).all()
    wrong = ActivationTransformFitter(symmetry=3)
    other = equivariance_report(*parts, activation_transform=wrong, **FAST)
    assert (column(other, "M")["r2"] < 0.8).all()


def test_by_default_several_generators_are_those_of_the_orbits():
    group = DihedralGroup(3)
    matrices, _ = regular_representation(group)
    x = np.random.default_rng(0).normal(size=(80, matrices.shape[1]))
    X = np.concatenate([x @ M.T for M in matrices])
    groups, power = np.tile(np.arange(80), 6), np.repeat(group.powers, 80, axis=0)
    parts = Orbits(X, groups, power, group).split(random_state=0)
    report = column(equivariance_report(*parts, **FAST), "M")
    assert report.index.tolist() == [(0, 1), (1, 0), (1, 1), (2, 0), (2, 1), "mean"]
    assert (report["r2"] > 0.999).all()


def test_orbits_of_two_groups_are_an_error(parts):
    train, test = (
        in_group(p, CyclicGroup(n)) for p, n in zip(parts, (3, 4), strict=True)
    )
    with pytest.raises(
        ValueError, match=r"symmetry CyclicGroup\(n=3\), but test Cyc.*n=4"
    ):
        equivariance_report(train, test)
    fitter = ActivationTransformFitter(symmetry=3)
    assert len(equivariance_report(train, test, activation_transform=fitter, **FAST))


def test_orbits_that_lack_a_row_count_where_they_have_one(parts):
    train, test = parts
    lacking = (test.power == 2) & (test.groups % 2 == 0)
    part = Orbits(test.X[~lacking], test.groups[~lacking], test.power[~lacking])
    report = column(equivariance_report(train, part, **FAST), "M")
    expected = fitted(train).r2_per_power(part.X, **metadata(part))
    np.testing.assert_allclose(report["r2"].iloc[:2], expected)
    assert (report["low"] < report["r2"]).all()


def test_the_shuffled_fit_does_not_warn(parts):
    class Suspicious(ActivationTransformFitter):
        def fit(self, X, y=None, *, groups=None, power=None):
            super().fit(X, y, groups=groups, power=power)
            if self.score(X, groups=groups, power=power) < 0.5:
                warnings.warn("M is not to be trusted", stacklevel=2)
            return self

    equivariance_report(*parts, activation_transform=Suspicious(), **FAST)


def test_a_common_orbit_is_an_error(parts):
    train, _ = parts
    with pytest.raises(ValueError, match=r"share 150 group id.*not held out"):
        equivariance_report(train, train)


def test_too_few_orbits_is_an_error(parts):
    train, test = parts
    few = np.isin(test.groups, np.unique(test.groups)[:4])
    few = Orbits(test.X[few], test.groups[few], test.power[few])
    with pytest.raises(ValueError, match=r"test has 4 group\(s\), but 5"):
        equivariance_report(train, few)


def test_no_moved_row_is_an_error(parts):
    train, test = parts
    kept = test.power == 0
    with pytest.raises(ValueError, match="no row has any other power than 0"):
        r2_per_feature(
            fitted(train),
            test.X[kept],
            groups=test.groups[kept],
            power=test.power[kept],
        )


def test_another_number_of_features_is_an_error(parts):
    train, test = parts
    with pytest.raises(ValueError, match="X has 2 features, but activation_transf"):
        r2_per_feature(fitted(train), test.X[:, :2], **metadata(test))


def test_an_autoencoder_is_no_m():
    orbits = cyclic_orbits(n_orbits=20)
    sae = EquivariantSAE(4, k=1, max_epochs=1, random_state=0)
    sae = sae.fit(orbits.X, **metadata(orbits))
    with pytest.raises(TypeError, match=r"found EquivariantSAE.*transform_"):
        r2_per_feature(sae, orbits.X, **metadata(orbits))
    with pytest.raises(TypeError, match="found TopKSAE"):
        equivariance_report(*orbits.split(), activation_transform=TopKSAE())


def test_a_report_of_arrays_asks_for_orbits():
    orbits = cyclic_orbits(n_orbits=20)
    with pytest.raises(TypeError, match=r"test has to be Orbits.*found ndarray"):
        equivariance_report(orbits, orbits.X)


def sites_that_are_alike(n_inputs, n_sites):
    """Orbits whose sites differ little, and how far M is off by input."""
    rng = np.random.default_rng(0)
    inputs, site, power = np.indices((n_inputs, n_sites, 2)).reshape(3, -1)
    of_input = rng.normal(size=(n_inputs, 1, 4))
    x = of_input + 0.1 * rng.normal(size=(n_inputs, n_sites, 4))
    noise = rng.normal(size=(n_inputs, 1, 4)) * rng.exponential(size=(n_inputs, 1, 1))
    X = np.stack([x, x[..., ::-1] + 0.5 * noise], axis=2).reshape(-1, 4)
    return X, {"groups": inputs, "power": power, "site": site}


def width(train, test):
    report = equivariance_report(train, test, ceiling=Ridge(), random_state=0)
    mean = column(report, "M").loc["mean"]
    return mean["high"] - mean["low"]


def test_intervals_of_sites_are_as_wide_as_those_of_inputs():
    """Twelve sites that are alike tell no more than one does."""
    X, told = sites_that_are_alike(80, 12)
    parts = Orbits(X, **told).split(random_state=0)
    one = told["site"] == 0
    of_inputs = Orbits(X[one], told["groups"][one], told["power"][one])
    by_input = width(*of_inputs.split(random_state=0))
    assert width(*parts) == pytest.approx(by_input, rel=0.1)
    apart = [replace(p, groups=p.groups * 12 + p.site, inputs=None) for p in parts]
    assert width(*apart) < 0.5 * by_input  # as if they were independent


def test_maps_of_sites_are_judged_by_orbits():
    """Each site is an orbit of its own: M that explains them all is found."""
    rng = np.random.default_rng(0)
    groups, site, power = np.indices((30, 3, 2)).reshape(3, -1)
    x = rng.normal(size=(90, 4))
    X = np.stack([x, x[:, ::-1]], axis=1).reshape(-1, 4)
    told = {"groups": groups, "power": power, "site": site}
    fitter = ActivationTransformFitter().fit(X, **told)
    assert (r2_per_feature(fitter, X, **told) > 0.999).all(axis=None)
    report = equivariance_report(*Orbits(X, **told).split(random_state=0), **FAST)
    assert column(report, "M")["low"].min() > 0.999
    assert column(report, "shuffled")["high"].max() < 0.2
