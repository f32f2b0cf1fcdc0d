"""Whatever a user may pass: a result that is right, or an error that is clear."""

import re
import warnings
from contextlib import contextmanager
from inspect import signature

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone

from sk_eqsae import (
    ActivationTransformFitter,
    EquivariantSAE,
    GroupTiedSAE,
    MeanDifferenceSelector,
    TopKSAE,
    TruncatedReconstruction,
    evaluate_probes,
    extract_orbits,
)
from sk_eqsae.groups import (
    AxisRotation,
    ChannelPermutation,
    CubeRotation,
    CyclicGroup,
    CyclicShift,
    DihedralGroup,
    GridShift,
    ImageDihedral,
    ImageFlip,
    ImageRotation,
    PoseCanonicalizer,
    ProductGroup,
    SymmetricGroup,
)
from sk_eqsae.inspection import dead_latents, feature_symmetry, fvu
from sk_eqsae.sae._base import BaseSAE
from tests.fitted import data, every_case, fitted, results
from tests.instances import INSTANCES, WITH_ORBITS, name
from tests.strategies import DTYPES, LAYOUTS, as_frame, converted, examples, matrices
from tests.strategies import orbits as some_orbits

QUICK = {"max_epochs": 1, "random_state": 0}
every_estimator = pytest.mark.parametrize("estimator", INSTANCES, ids=name)
every_orbit_estimator = pytest.mark.parametrize("estimator", WITH_ORBITS, ids=name)


@contextmanager
def warnings_that_such_data_deserve():
    """Let them pass, and what scikit-learn makes of infinities and no variance."""
    with warnings.catch_warnings():
        for message in (
            "M is not to be trusted",
            "Poses are ambiguous",
            ".* latents are dead",
            "Reconstructions are far from the rows",
            "The longest 1 % of the rows hold",
            "invalid value encountered in reduce",
        ):
            warnings.filterwarnings("ignore", message)
        warnings.filterwarnings("ignore", module=r"sklearn\.decomposition")
        yield


def fitted_or_refused(estimator, X, y, metadata):
    """Fit; None if the data are refused by an error that says something."""
    try:
        return clone(estimator).fit(X, y, **metadata)
    except (ValueError, TypeError) as error:
        message = str(error)
    assert re.search("X|y|power|rows|orbits|training diverged", message), message
    return None


def check(estimator, X, metadata):
    """Fit and see that all results are finite, of the right size and dtype."""
    with warnings_that_such_data_deserve():
        one = fitted_or_refused(estimator, X, np.arange(len(X)) % 2, metadata)
        if one is None:
            return
        for method, values in results(one, X, metadata).items():
            numbers = values.data if sparse.issparse(values) else np.asarray(values)
            assert np.isfinite(numbers.astype(np.float64)).all(), method
            if method != "score":
                assert values.shape[0] == len(X)
    if X.dtype in (np.float32, np.float64):
        assert one.transform(X).dtype == X.dtype


@every_estimator
@examples(4)
@given(X=matrices(), dtype=st.sampled_from(DTYPES), layout=st.sampled_from(LAYOUTS))
def test_rows_of_any_sort_give_finite_results_or_a_clear_error(
    estimator, X, dtype, layout
):
    check(estimator, converted(X, dtype, layout), {})


@every_orbit_estimator
@examples(4)
@given(
    orbits=some_orbits(),
    dtype=st.sampled_from(DTYPES[:4]),
    layout=st.sampled_from(LAYOUTS),
)
def test_orbits_of_any_sort_give_finite_results_or_a_clear_error(
    estimator, orbits, dtype, layout
):
    X, metadata = orbits
    check(estimator, converted(X, dtype, layout), metadata)


@pytest.mark.parametrize(
    "estimator", [e for e in WITH_ORBITS if "paper" not in repr(e)], ids=name
)
def test_a_fit_does_not_depend_on_the_unit_of_the_rows(estimator):
    X, y, metadata = data()
    X = X.astype(np.float32)
    here = results(clone(estimator).fit(X, y, **metadata), X, metadata)
    for unit in np.float32(2) ** np.array([-90, 90], dtype=np.float32):
        other = clone(estimator).fit(unit * X, y, **metadata)
        there = results(other, unit * X, metadata)
        for method in ("transform", "reconstruct", "inverse_transform"):
            if method in here:
                there[method] = there[method] / unit
        for method, values in here.items():
            close = {"rtol": 1e-4, "atol": 1e-4, "err_msg": method}
            assert_allclose(there[method], values, **close)


def test_rows_far_out_of_the_range_of_the_training_data_are_an_error():
    sae = TopKSAE(8, k=1, **QUICK).fit(1e-30 * data()[0])
    with pytest.raises(ValueError, match="Look at the units of X"):
        sae.transform(1e30 * data()[0])


@every_case
@pytest.mark.parametrize("layout", ["reversed", "F"])
def test_rows_are_transformed_each_by_itself(case, layout):
    X, estimator = data()[0], fitted(case)
    rows = np.random.default_rng(0).permutation(len(X))[:20]
    whole = estimator.transform(X)[rows]
    part = estimator.transform(converted(X[rows], "float64", layout))
    each = np.vstack([estimator.transform(X[row : row + 1]) for row in rows])
    for found in (part, each):
        # one training row has a latent at the very threshold of BatchTopK
        distance = np.maximum(found, whole) - getattr(estimator, "threshold_", np.inf)
        clear = np.abs(distance) > 1e-4
        assert_allclose(found * clear, whole * clear, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize(
    "estimator",
    [
        TopKSAE(8, k=2, activation="batch_topk", **QUICK),
        EquivariantSAE(8, k=2, hidden_dim=4, **QUICK),
        GroupTiedSAE(8, k=2, **QUICK),
        ActivationTransformFitter(),
        PoseCanonicalizer(),
        MeanDifferenceSelector(2),
        TruncatedReconstruction(EquivariantSAE(8, k=2, hidden_dim=4, **QUICK), 3),
    ],
    ids=name,
)
def test_frames_give_what_arrays_give(estimator, library):
    library = pytest.importorskip(library)
    X, y, metadata = data()
    taken = signature(estimator.fit).parameters
    metadata = metadata if "groups" in taken else {}
    expected = clone(estimator).fit(X, y, **metadata).transform(X)
    frame = as_frame(X, library)
    one = clone(estimator).fit(frame, y, **metadata)
    assert_allclose(one.transform(frame), expected, rtol=1e-5, atol=1e-7)
    if isinstance(estimator, BaseSAE):
        assert_array_equal(one.transform(frame), expected)
    assert one.feature_names_in_.tolist() == list(frame.columns)
    with pytest.raises(ValueError, match="feature names"):
        one.transform(frame[list(frame.columns)[::-1]])


@examples(3)
@given(ids=st.sampled_from([np.array(list("dacb")), [7, -3, 0, 10**9], [0.5, 2, 1, 3]]))
def test_orbit_ids_of_any_sort_give_the_same_fit(ids):
    X, _, metadata = data()
    X, power = X[:16], metadata["power"][:16]
    sae = EquivariantSAE(4, k=1, hidden_dim=None, **QUICK)
    with warnings_that_such_data_deserve():
        one = clone(sae).fit(X, groups=metadata["groups"][:16], power=power)
        other = sae.fit(X, groups=np.repeat(ids, 4), power=power)
    assert_array_equal(one.transform(X), other.transform(X))


groups = st.one_of(
    st.builds(CyclicGroup, st.integers(1, 12)),
    st.builds(DihedralGroup, st.integers(1, 6)),
    st.builds(SymmetricGroup, st.integers(2, 4)),
    st.builds(
        ProductGroup,
        st.builds(CyclicGroup, st.integers(1, 4)),
        st.builds(DihedralGroup, st.integers(1, 3)),
    ),
)


@examples(20)
@given(group=groups)
def test_groups_obey_their_laws(group):
    table, n = group.multiplication_table, np.arange(group.order)
    assert_array_equal(table[0], n)
    assert_array_equal(table[:, 0], n)
    assert_array_equal(table[n, group.inverses], 0)
    assert_array_equal(table[table], table[:, table])  # (ab)c = a(bc)
    assert_array_equal(group.elements_of(group.powers), n)
    assert eval(repr(group)) == group
    for irrep in group.irreps:
        products = np.einsum("aij,bjk->abik", irrep.matrices, irrep.matrices)
        assert_allclose(products, irrep.matrices[table], atol=1e-10)
    lengths = np.square(group.character_table).sum(axis=1) / group.order
    assert_allclose(lengths, [irrep.commutant_dim for irrep in group.irreps])


ACTIONS = {
    "rotation": (ImageRotation(4), (2, 3, 3)),
    "flip": (ImageFlip(), (2, 3, 3)),
    "dihedral": (ImageDihedral(4), (2, 3, 3)),
    "shift": (CyclicShift(axis=1, order=3), (2, 3)),
    "grid": (GridShift(axes=(1, 2), orders=(2, 3)), (2, 2, 3)),
    "channels": (ChannelPermutation(3), (2, 3)),
    "axis": (AxisRotation(order=5, axis=1), (2, 4, 3)),
    "cube": (CubeRotation(), (2, 4, 3)),
}


@pytest.mark.parametrize(("action", "shape"), ACTIONS.values(), ids=ACTIONS)
@examples(4)
@given(number=st.integers(0, 10**6), layout=st.sampled_from(LAYOUTS))
def test_actions_compose_as_their_group_does(action, shape, number, layout):
    group = action.symmetry
    powers = group.powers if group.n_generators > 1 else group.powers[:, 0]
    g, h = number % group.order, number // group.order % group.order
    x = np.arange(np.prod(shape), dtype=np.float64)
    x = converted(x.reshape(shape[0], -1), "float64", layout).reshape(shape)
    gh = group.multiplication_table[g, h]
    moved = action(action(x, powers[h]), powers[g])
    assert_allclose(moved, action(x, powers[gh]), atol=1e-9)
    torch_x = torch.from_numpy(x.copy())
    assert_allclose(action(torch_x, powers[gh]).numpy(), action(x, powers[gh]))


@examples(8)
@given(
    p=st.integers(-9, 9), q=st.integers(-9, 9), exponent=st.sampled_from([-30, 0, 30])
)
def test_acting_twice_is_acting_with_the_sum(p, q, exponent):
    X, _, metadata = data()
    X = 10.0**exponent * X
    fitter = ActivationTransformFitter().fit(X, **metadata)
    twice = fitter.act(fitter.act(X, p), q)
    assert_allclose(twice, fitter.act(X, p + q), atol=1e-8 * 10.0**exponent)
    back = fitter.inverse_transform(fitter.transform(X))
    assert_allclose(back, X, atol=1e-8 * 10.0**exponent)
    poses = PoseCanonicalizer().fit(X, **metadata)
    canonical, power = poses.transform(X), poses.predict_power(X)
    assert_allclose(fitter.act(canonical, power), X, atol=1e-8 * 10.0**exponent)


@examples(3)
@given(order=st.integers(2, 5), seed=st.integers(0, 9))
def test_tied_codes_move_as_the_group_says(order, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(30, 2)) @ np.eye(2, 2 * order)
    X = np.stack([np.roll(x, 2 * p, axis=1) for p in range(order)], axis=1)
    groups, power = np.indices((30, order)).reshape(2, -1)
    X = X.reshape(-1, 2 * order)
    sae = GroupTiedSAE(orbit_lengths={order: 3}, k=2, **QUICK)
    sae.fit(X, groups=groups, power=power)
    fresh = rng.normal(size=(10, 2 * order))
    codes = sae.transform(fresh).reshape(10, 3, order)
    for p in range(order):
        moved = sae.transform(sae.activation_transform_.act(fresh, p))
        expected = np.roll(codes, p, axis=2).reshape(10, -1)
        assert_allclose(moved, expected, atol=1e-4)


@examples(8)
@given(X=matrices(exponents=(0, 0)), exponent=st.integers(-30, 30))
def test_metrics_do_not_depend_on_units(X, exponent):
    rebuilt = 0.9 * X
    unit = 2.0 ** (30 * exponent)  # squares overflow from 2^512 on
    assert fvu(unit * X, unit * rebuilt) == fvu(X, rebuilt)
    assert dead_latents(X.tolist()) == dead_latents(sparse.csr_array(X))
    assert dead_latents(X.astype(np.float16)) == dead_latents(X)


@examples(6)
@given(X=matrices(n_rows=10, exponents=(-30, 30)), layout=st.sampled_from(LAYOUTS))
def test_selected_latents_are_those_with_the_largest_difference(X, layout):
    y = np.array(list("ab") * 5)
    selector = MeanDifferenceSelector(1).fit(converted(X, "float64", layout), y)
    difference = np.abs(X[::2].mean(axis=0) - X[1::2].mean(axis=0))
    assert_allclose(selector.scores_, difference, atol=1e-12 * np.abs(X).max())
    chosen = int(selector.get_support(indices=True)[0])
    assert_array_equal(selector.transform(X)[:, 0], X[:, chosen])


@examples(5)
@given(
    dtype=st.sampled_from([np.float64, np.float32, np.float16, np.int64]),
    layout=st.sampled_from(LAYOUTS),
    n=st.integers(1, 5),
)
def test_extracted_orbits_are_those_of_each_input(dtype, layout, n):
    inputs = converted(np.arange(3 * n).reshape(n, 3), dtype, layout)
    layer = {"layer": "", "action": CyclicShift(axis=1, order=3), "batch_size": 2}
    found = extract_orbits(torch.nn.Identity(), inputs, **layer)
    expected = [np.roll(row, p) for row in inputs for p in range(3)]
    assert_array_equal(found.X, expected)
    assert found.n_orbits == n


@pytest.mark.parametrize("exponent", [-30, 30])
def test_measures_of_symmetry_do_not_depend_on_units(exponent):
    X, _, metadata = data()
    tables, scores = [], []
    for unit in (1.0, 10.0**exponent):
        sae = GroupTiedSAE(8, k=1, **QUICK).fit(unit * X, **metadata)
        tables.append(feature_symmetry(sae)["invariance"])
        M = ActivationTransformFitter().fit(unit * X, **metadata)
        scores.append(M.score(unit * X, **metadata))
    assert tables[1].between(0, 1).all()
    assert_allclose(scores[1], scores[0], atol=1e-9)


@pytest.mark.parametrize("kind", ["array", "pandas", "polars", "read-only"])
def test_probes_take_rows_of_any_sort(kind):
    X, y, _ = data()
    call = {"train": range(120), "test": range(120, 240), "probes": ["knn"]}
    expected = evaluate_probes(X, y[:, None], **call)["f1"]
    if kind in ("pandas", "polars"):
        rows = as_frame(X, pytest.importorskip(kind))
    else:
        rows = converted(X, "float64", kind)
    found = evaluate_probes(rows, pd.DataFrame({"task": y}), **call)
    assert_array_equal(found["f1"], expected)
