"""The closed form on data that are large, few, degenerate or wrong."""

import pickle
import re
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import gen_batches

from sk_eqsae import ActivationTransformFitter
from sk_eqsae._rows import read_rows
from sk_eqsae.groups import CyclicGroup, DihedralGroup
from sk_eqsae.groups._exact_law import _last_gap
from sk_eqsae.groups._least_squares import all_pairs
from sk_eqsae.groups._moments import OrbitMoments

from .representations import known_representation, orbits_of

C4, D4 = CyclicGroup(4), DihedralGroup(4)
LAWS = ["exact", "free", "orthogonal"]
STATUS = Path("/proc/self/status")
any_law = pytest.mark.parametrize("law", LAWS)
not_to_be_trusted = pytest.mark.filterwarnings("ignore:M is not to be trusted")


def noisy_orbits(group, **settings):
    return orbits_of(known_representation(group), group, noise=0.2, **settings)


def low_rank_orbits(n_features, *, n_orbits=60, n_copies=3, seed=0):
    """Orbits of C4 in 4 * n_copies of many features."""
    X, metadata = orbits_of(
        known_representation(C4, n_copies=n_copies), C4, n_orbits=n_orbits, seed=seed
    )
    directions = np.random.default_rng(9).normal(size=(n_features, X.shape[1]))
    return X @ np.linalg.qr(directions)[0].T, metadata


def parts(X, metadata, n_parts):
    for orbits in np.array_split(np.unique(metadata["groups"]), n_parts):
        rows = np.isin(metadata["groups"], orbits)
        yield X[rows], {name: values[rows] for name, values in metadata.items()}


def whole(X, metadata):
    return X, metadata


def with_missing_rows(X, metadata):
    kept = np.random.default_rng(0).random(len(X)) < 0.9
    kept |= np.tile(np.arange(len(X) // 200) == 0, 200)  # canonical rows
    return X[kept], {name: values[kept] for name, values in metadata.items()}


@not_to_be_trusted  # an orthogonal one
@any_law
@pytest.mark.parametrize("group", [C4, D4], ids=repr)
@pytest.mark.parametrize("rows", [whole, with_missing_rows])
def test_parts_give_the_same_matrix_as_all_orbits_at_once(law, group, rows):
    X, metadata = rows(*noisy_orbits(group))
    settings = {"symmetry": group, "group_law": law}
    once = ActivationTransformFitter(**settings).fit(X, **metadata)
    in_parts = ActivationTransformFitter(**settings)
    for part, its_metadata in parts(X, metadata, 3):
        in_parts.partial_fit(part, **its_metadata)
    np.testing.assert_allclose(in_parts.M_, once.M_, atol=1e-8)


def test_orbits_with_missing_rows_join_those_without():
    X, metadata = noisy_orbits(C4)
    some = metadata["groups"] < 100
    spoiled, kept = X.copy(), ~((metadata["power"] == 2) & some)
    once = ActivationTransformFitter(symmetry=4)
    once.fit(spoiled[kept], **{k: v[kept] for k, v in metadata.items()})
    in_parts = ActivationTransformFitter(symmetry=4)
    for rows in (kept & some, ~some):
        in_parts.partial_fit(X[rows], **{k: v[rows] for k, v in metadata.items()})
    np.testing.assert_allclose(in_parts.M_, once.M_, atol=1e-8)


@pytest.mark.parametrize("group", [C4, D4], ids=repr)
@pytest.mark.parametrize("n_missing", [0, 30])
def test_sums_by_irrep_hold_all_pairs_of_rows(group, n_missing):
    X, _ = noisy_orbits(group)
    table = np.arange(len(X)).reshape(-1, group.order)
    table[:n_missing, 1] = -1
    sums_by = {by: OrbitMoments(group, by_irrep=by) for by in (True, False)}
    for moments in sums_by.values():
        moments.add(X, table)
    found, expected = (all_pairs(moments) for moments in sums_by.values())
    generators = sums_by[True].places_of_generators
    for sums, its_expected in zip(found, expected, strict=True):
        np.testing.assert_allclose(sums[generators], its_expected, atol=1e-7)


def test_fit_forgets_what_partial_fit_has_seen():
    X, metadata = noisy_orbits(C4)
    fitter = ActivationTransformFitter(symmetry=4).partial_fit(X, **metadata)
    first = fitter.M_
    other, other_metadata = noisy_orbits(C4, seed=5)
    again = fitter.fit(other, **other_metadata).M_
    assert not np.array_equal(again, first)
    with pytest.warns(UserWarning, match="partial_fit forgets what fit has found"):
        fitter.partial_fit(X, **metadata)
    assert np.array_equal(fitter.M_, first)


def test_gradient_descent_has_no_partial_fit():
    fitter = ActivationTransformFitter(symmetry=4, solver="adam")
    assert not hasattr(fitter, "partial_fit")
    with pytest.raises(AttributeError) as error:
        fitter.partial_fit(np.zeros((4, 2)))
    assert "Set solver='lstsq'" in str(error.value.__cause__)


@pytest.mark.parametrize("law", ["exact", "free"])
def test_partial_fit_resets_what_only_other_settings_find(law):
    X, metadata = noisy_orbits(C4)
    adam = {"solver": "adam", "max_epochs": 1, "random_state": 0}
    fitter = ActivationTransformFitter(**adam).fit(X, **metadata)
    fitter.set_params(solver="lstsq", group_law=law)
    with pytest.warns(UserWarning, match="partial_fit forgets what fit has found"):
        fitter.partial_fit(X, **metadata)
    fresh = ActivationTransformFitter(group_law=law).partial_fit(X, **metadata)
    assert vars(fitter).keys() == vars(fresh).keys()
    fitter.set_params(group_law="free").partial_fit(X, **metadata)
    assert not hasattr(fitter, "rank_")
    assert not hasattr(fitter, "multiplicities_")


def halves_of_orbits(X, metadata):
    """Rows of powers 0 and 2, which say nothing about one step."""
    even = metadata["power"] % 2 == 0
    return X[even], {name: values[even] for name, values in metadata.items()}


def test_first_call_that_fails_leaves_nothing_behind():
    X, metadata = noisy_orbits(C4)
    useless, its_metadata = halves_of_orbits(X, metadata)
    fitter = ActivationTransformFitter(symmetry=4)
    before = vars(fitter).copy()
    with pytest.raises(ValueError, match="no orbit has two rows"):
        fitter.partial_fit(useless, **its_metadata)
    assert vars(fitter) == before
    expected = ActivationTransformFitter(symmetry=4).partial_fit(X, **metadata).M_
    assert np.array_equal(fitter.partial_fit(X, **metadata).M_, expected)


@any_law
@pytest.mark.parametrize("settings", [{}, {"solver": "adam", "lr": 1e30}])
def test_fit_that_fails_leaves_the_last_one(law, settings, monkeypatch):
    X, metadata = noisy_orbits(C4)
    fitter = ActivationTransformFitter(group_law=law).partial_fit(X, **metadata)
    fitter.set_params(**settings)
    before = vars(fitter).copy()
    if not settings:
        monkeypatch.setattr(ActivationTransformFitter, "_keep", fail)
    errors = ValueError, np.linalg.LinAlgError, ConvergenceWarning
    with pytest.raises(errors):
        fitter.fit(X[:, :5], **metadata)
    assert vars(fitter).keys() == before.keys()
    assert all(vars(fitter)[name] is value for name, value in before.items())


@any_law
@pytest.mark.parametrize("n_orbits", [4, 200])  # rows are kept, rows are summed
def test_later_call_that_fails_adds_no_orbits(law, n_orbits, monkeypatch):
    X, metadata = noisy_orbits(C4, n_orbits=n_orbits)
    fitters = [ActivationTransformFitter(group_law=law) for _ in range(2)]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "M is not to be trusted")
        for fitter in fitters:
            fitter.partial_fit(X, **metadata)
        before = vars(fitters[0]).copy()
        with monkeypatch.context() as broken:
            broken.setattr(ActivationTransformFitter, "_keep", fail)
            with pytest.raises(np.linalg.LinAlgError):
                fitters[0].partial_fit(X, **metadata)
        assert all(vars(fitters[0])[name] is value for name, value in before.items())
        once, twice = (f.partial_fit(X, **metadata).M_ for f in fitters)
    assert np.array_equal(once, twice)
    assert fitters[0]._sums["n_orbits"] == 2 * n_orbits


def fail(*args, **kwargs):
    raise np.linalg.LinAlgError


def test_warning_made_an_error_adds_no_orbits():
    X, metadata = noisy_orbits(C4)
    fitter = ActivationTransformFitter().partial_fit(X, **metadata)
    M = fitter.M_
    wrong = np.random.default_rng(0).normal(size=X.shape) * 100
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="explains less"):
            fitter.partial_fit(wrong, **metadata)
    assert np.array_equal(fitter.M_, M)
    np.testing.assert_allclose(fitter.partial_fit(X, **metadata).M_, M, atol=1e-9)


def is_plain(value):
    """Whether any file format can hold it: arrays, numbers, text, and lists of them."""
    if isinstance(value, dict):
        return all(map(is_plain, [*value, *value.values()]))
    if isinstance(value, list):
        return all(map(is_plain, value))
    return type(value) in {np.ndarray, int, float, str, bool, type(None)}


@not_to_be_trusted  # five principal directions alone do not follow the group
@any_law
@pytest.mark.parametrize("rows", [whole, with_missing_rows])
@pytest.mark.parametrize("n_components", [None, 5])
def test_pickle_between_two_calls_changes_nothing(law, rows, n_components):
    settings = {"n_components": n_components, "random_state": 0}
    first, second = parts(*rows(*noisy_orbits(C4)), 2)
    through = ActivationTransformFitter(group_law=law, **settings)
    through.partial_fit(first[0], **first[1])
    state = vars(through).copy()
    assert state.pop("symmetry_") == C4  # a value object of the package
    assert is_plain(state)
    copy = pickle.loads(pickle.dumps(through))
    for fitter in (through, copy):
        fitter.partial_fit(second[0], **second[1])
    assert np.array_equal(copy.M_, through.M_)


@pytest.mark.parametrize("later", [2, 6])
def test_later_calls_keep_the_order_of_the_first(later):
    X, metadata = noisy_orbits(C4)
    fitter = ActivationTransformFitter().partial_fit(X, **metadata)
    other, other_metadata = noisy_orbits(CyclicGroup(later))
    with pytest.raises(ValueError, match=r"features|power"):
        fitter.partial_fit(other, **other_metadata)


@any_law
def test_file_gives_the_same_matrix_as_memory(law, tmp_path):
    X, metadata = noisy_orbits(C4)
    np.save(tmp_path / "X.npy", X.astype(np.float32))
    on_disk = np.load(tmp_path / "X.npy", mmap_mode="r")
    fits = [
        ActivationTransformFitter(group_law=law).fit(rows, **metadata)
        for rows in (on_disk, np.array(on_disk))
    ]
    assert np.array_equal(fits[0].M_, fits[1].M_)


def highest_memory(fit, *args, **metadata):
    tracemalloc.start()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an orthogonal M explains little
        fit(*args, **metadata)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@any_law
def test_file_is_not_read_as_a_whole(law, tmp_path, monkeypatch):
    monkeypatch.setattr("sk_eqsae.groups._moments._CHUNK_ENTRIES", 2**14)
    M = known_representation(C4, n_copies=16)
    X, metadata = orbits_of(M, C4, n_orbits=20_000)
    np.save(tmp_path / "X.npy", X.astype(np.float32))
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    fitter = ActivationTransformFitter(group_law=law)
    assert highest_memory(fitter.fit, X, **metadata) < X.nbytes / 2


def test_fit_frees_sums_that_partial_fit_keeps(monkeypatch):
    monkeypatch.setattr("sk_eqsae.groups._moments._CHUNK_ENTRIES", 2**14)
    M = known_representation(C4, n_copies=64)
    X, metadata = orbits_of(M, C4, n_orbits=300)
    fit, partial_fit = (
        highest_memory(getattr(ActivationTransformFitter(), name), X, **metadata)
        for name in ("fit", "partial_fit")
    )
    assert fit < partial_fit - 1.5 * M[0].nbytes


def resident_file_bytes():
    found = re.search(r"RssFile:\s+(\d+) kB", STATUS.read_text())
    return 1024 * int(found.group(1))


@pytest.mark.skipif(not STATUS.exists(), reason="needs Linux's /proc")
def test_pages_of_a_file_are_let_go_of(tmp_path):
    np.save(tmp_path / "X.npy", np.ones((2**17, 64), dtype=np.float32))
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    before = resident_file_bytes()
    for part in gen_batches(len(X), 2**14):
        read_rows(X, part)
    assert resident_file_bytes() - before < X.nbytes / 2


def test_pages_that_were_written_privately_are_kept(tmp_path):
    np.save(tmp_path / "X.npy", np.zeros((100, 3)))
    X = np.load(tmp_path / "X.npy", mmap_mode="c")
    X[:] = 1
    read_rows(X, slice(None))
    assert (X == 1).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("on_disk", [False, True])
def test_bad_number_in_a_late_chunk_is_found(bad, on_disk, monkeypatch, tmp_path):
    monkeypatch.setattr("sk_eqsae.groups._moments._CHUNK_ENTRIES", 100)
    X, metadata = noisy_orbits(C4)
    X[-1, -1] = bad
    if on_disk:
        np.save(tmp_path / "X.npy", X)
        X = np.load(tmp_path / "X.npy", mmap_mode="r")
    with pytest.raises(ValueError, match="Input X contains"):
        ActivationTransformFitter().fit(X, **metadata)


@any_law
def test_principal_directions_that_hold_all_variance_change_nothing(law):
    X, metadata = low_rank_orbits(40)
    full = ActivationTransformFitter(group_law=law).fit(X, **metadata)
    low = ActivationTransformFitter(group_law=law, n_components=12, random_state=0)
    low.fit(X, **metadata)
    np.testing.assert_allclose(low.act(X, 1), full.act(X, 1), atol=1e-4)


@not_to_be_trusted  # these directions alone do not follow the group
def test_fewer_principal_directions_keep_the_law_and_leave_the_rest():
    X, metadata = low_rank_orbits(40)
    fitter = ActivationTransformFitter(n_components=5, random_state=0)
    fitter.fit(X, **metadata)
    change = np.linalg.svd(fitter.M_ - np.eye(40), compute_uv=False)
    assert (change > 1e-9).sum() <= 5
    assert np.linalg.norm(np.linalg.matrix_power(fitter.M_, 4) - np.eye(40)) < 1e-9
    assert fitter.multiplicities_.sum() <= 40
    assert fitter.rank_ == 5


def test_principal_directions_are_those_of_the_first_part():
    X, metadata = low_rank_orbits(40)
    once = ActivationTransformFitter(n_components=12, random_state=0).fit(X, **metadata)
    fitter = ActivationTransformFitter(n_components=12, random_state=0)
    for part, its_metadata in parts(X, metadata, 3):
        fitter.partial_fit(part, **its_metadata)
    np.testing.assert_allclose(fitter.act(X, 1), once.act(X, 1), atol=1e-6)


@pytest.mark.parametrize(
    ("n_components", "n_features", "message"),
    [
        (50, 40, r"n_components=50 is more than the 40 feature\(s\) of X"),
        (30, 40, r"n_components=30 is more than the 20 row\(s\).*too few orbits"),
    ],
)
def test_too_few_orbits_or_features_for_the_rank(n_components, n_features, message):
    X, metadata = low_rank_orbits(n_features, n_orbits=5)
    fitter = ActivationTransformFitter(n_components=n_components)
    with pytest.raises(ValueError, match=message):
        fitter.fit(X, **metadata)


def test_first_part_with_too_few_orbits_for_the_rank():
    X, metadata = low_rank_orbits(40, n_orbits=5)
    fitter = ActivationTransformFitter(n_components=30)
    with pytest.raises(ValueError, match=r"row.*of partial_fit's first call.*too few"):
        fitter.partial_fit(X, **metadata)


def test_more_components_than_the_rank_leave_the_others_alone():
    X, metadata = low_rank_orbits(40)
    fitter = ActivationTransformFitter(n_components=30, random_state=0)
    fitter.fit(X, **metadata)
    assert fitter.rank_ == 12
    everything = ActivationTransformFitter().fit(X, **metadata)
    np.testing.assert_allclose(fitter.M_, everything.M_, atol=1e-8)


def test_single_orbit_is_enough_for_few_directions():
    group = CyclicGroup(24)
    turn = 2 * np.pi * np.arange(24) / 24
    X = np.column_stack([np.cos(turn), np.sin(turn), np.cos(2 * turn), np.ones(24)])
    X = X @ np.random.default_rng(0).normal(size=(4, 10))
    metadata = {"groups": np.zeros(24, dtype=int), "power": np.arange(24)}
    fitter = ActivationTransformFitter(symmetry=group).fit(X, **metadata)
    assert fitter.rank_ == 4
    assert fitter.order_error_ < 1e-10


def test_single_orbit_that_any_matrix_fits_warns():
    X, metadata = noisy_orbits(C4, n_orbits=1)
    with pytest.warns(UserWarning, match="1 orbits with 4 rows are too few"):
        ActivationTransformFitter().fit(X, **metadata)


@pytest.mark.parametrize("solver", ["lstsq", "adam"])
@any_law
def test_generator_that_is_never_observed_is_named(solver, law):
    X, metadata = noisy_orbits(D4)
    turned = metadata["power"][:, 1] == 0
    fitter = ActivationTransformFitter(symmetry=D4, solver=solver, group_law=law)
    with pytest.raises(ValueError, match="the generator s is never observed"):
        fitter.fit(X[turned], **{k: v[turned] for k, v in metadata.items()})


def test_many_features_and_few_orbits_are_solved_by_rows():
    X, metadata = low_rank_orbits(1_000, n_orbits=200, n_copies=20)
    test, test_metadata = low_rank_orbits(1_000, n_orbits=20, n_copies=20, seed=1)
    fitter = ActivationTransformFitter().fit(X, **metadata)
    assert fitter.rank_ == 80
    assert fitter.order_error_ < 1e-10
    assert fitter.score(test, **test_metadata) > 1 - 1e-9


@pytest.mark.parametrize("group", [C4, D4], ids=repr)
def test_rows_and_sums_give_the_same_matrix(group):
    X, metadata = orbits_of(known_representation(group), group, noise=0.2, n_orbits=12)
    X = X @ np.random.default_rng(0).normal(size=(X.shape[1], 16))
    by_rows = ActivationTransformFitter(symmetry=group)
    by_sums = ActivationTransformFitter(symmetry=group)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        by_rows.fit(X, **metadata)
        for _ in range(2):  # together more orbits than features
            by_sums.partial_fit(X, **metadata)
    np.testing.assert_allclose(by_rows.M_, by_sums.M_, atol=1e-8)


@not_to_be_trusted
def test_fewer_rows_than_features_with_noise_keep_the_law():
    X, metadata = low_rank_orbits(300, n_orbits=20)
    X = X + 0.1 * np.random.default_rng(0).normal(size=X.shape)
    fitter = ActivationTransformFitter().fit(X, **metadata)
    assert fitter.order_error_ < 1e-10
    assert fitter.rank_ <= 80


def test_repeated_eigenvalues_do_not_split_an_irrep():
    permutation = np.roll(np.eye(12), 3, axis=0)
    X = np.stack([np.linalg.matrix_power(permutation, p).T for p in range(4)], axis=1)
    X = np.tile(X.reshape(-1, 12), (2, 1))
    groups, power = np.repeat(np.arange(24), 4), np.tile(np.arange(4), 24)
    fitter = ActivationTransformFitter().fit(X, groups=groups, power=power)
    np.testing.assert_allclose(fitter.M_, permutation, atol=1e-12)
    assert fitter.multiplicities_.tolist() == [3, 3, 3]


@pytest.mark.parametrize(("n", "expected"), [(0, 0), (1, 1), (3, 1), (4, 4), (5, 5)])
def test_equal_eigenvalues_are_kept_or_left_out_together(n, expected):
    assert _last_gap(np.array([4.0, 3.0, 3.0, 3.0, 1.0]), n) == expected


@pytest.mark.parametrize("noise", [0.0, 0.05])
@pytest.mark.parametrize("group", [CyclicGroup(2), C4, D4], ids=repr)
def test_invariant_activations_are_left_alone(group, noise):
    identity = np.tile(np.eye(3), (group.order, 1, 1))
    X, metadata = orbits_of(identity, group, noise=noise)
    fitter = ActivationTransformFitter(symmetry=group).fit(X, **metadata)
    np.testing.assert_allclose(fitter.matrix(group.powers[-1]), np.eye(3), atol=1e-9)
    assert fitter.multiplicities_[0] == 3


def test_orbits_that_do_not_belong_together_are_not_to_be_trusted():
    X, metadata = noisy_orbits(C4)
    shuffled = np.random.default_rng(0).permutation(len(X))
    with pytest.warns(UserWarning, match="explains less of the activations than"):
        ActivationTransformFitter().fit(X[shuffled], **metadata)


def reflection(n, seed):
    v = np.random.default_rng(seed).normal(size=(n, 1)).astype(np.longdouble)
    return np.eye(n) - 2 * v @ v.T / (v.T @ v)


def law_of_large_norm(n=12, decades=3.3):
    """C_n on directions of very unequal size, rounded to float64 at the end."""
    inner, outer = reflection(n, 0), reflection(n, 1)
    size = np.logspace(0, -decades, n, dtype=np.longdouble)
    turned = inner @ np.roll(np.eye(n), 1, axis=0) @ inner
    M = outer @ (turned * size[:, np.newaxis] / size) @ outer
    powers = [np.eye(n, dtype=np.longdouble)]
    for _ in range(n - 1):
        powers.append(M @ powers[-1])
    return np.array(powers, np.float64), np.float64(size[:, np.newaxis] * outer)


def orbits_of_large_norm():
    M, directions = law_of_large_norm()
    x = np.random.default_rng(1).normal(size=(200, 12)) @ directions
    X = np.einsum("gij,nj->ngi", M, x).reshape(-1, 12)
    groups, power = np.indices((200, 12)).reshape(2, -1)
    return M[1], X, {"groups": groups, "power": power}


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_law_of_large_norm_holds_as_well_as_float64_allows(method):
    M, X, metadata = orbits_of_large_norm()
    fitter = ActivationTransformFitter()
    with pytest.warns(UserWarning, match=r"law holds to .*norm 2e.03") as caught:
        getattr(fitter, method)(X, **metadata)
    assert caught[0].filename == __file__
    assert fitter.score(X, **metadata) > 0.9999
    limit = np.linalg.matrix_power(M, 12) - np.eye(12)
    assert fitter.order_error_ < 10 * np.linalg.norm(limit) / np.sqrt(12)


@not_to_be_trusted  # these directions alone do not follow the group
def test_principal_directions_keep_the_order_error_small():
    _, X, metadata = orbits_of_large_norm()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "M is not to be trusted in all digits")
        fitter = ActivationTransformFitter(n_components=6, random_state=0)
        fitter.fit(X, **metadata)
    assert fitter.order_error_ < 1e-10


def constant(x):
    return np.ones_like(x)


def offset(x):
    return x + 100


def tiny(x):
    return 1e-6 * x


def single_precision(x):
    return x.astype(np.float32)


@pytest.mark.parametrize("change", [constant, np.zeros_like, offset, tiny])
@pytest.mark.parametrize("precision", [np.asarray, single_precision])
def test_healthy_activations_raise_no_warning(change, precision):
    X, metadata = noisy_orbits(C4)
    fitter = ActivationTransformFitter().fit(precision(change(X)), **metadata)
    assert fitter.order_error_ < 1e-10
