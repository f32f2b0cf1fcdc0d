"""Groups: the laws, the presentations, and irreps against textbook tables."""

import copy
import pickle
from dataclasses import FrozenInstanceError
from functools import reduce

import joblib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sk_eqsae import groups
from sk_eqsae.groups import (
    CubeRotation,
    CyclicGroup,
    DihedralGroup,
    FiniteGroup,
    GeneratedGroup,
    ProductGroup,
    SymmetricGroup,
    multiplicities,
)
from sk_eqsae.groups._group import smallest_parts
from sk_eqsae.groups._irreps import _eigenspaces

# i and j multiply 1, i, j, k, -1, -i, -j, -k from the left.
Q8_GENERATORS = ((1, 4, 3, 6, 5, 0, 7, 2), (2, 7, 4, 1, 6, 3, 0, 5))
Q8 = GeneratedGroup(
    Q8_GENERATORS,
    relations=(((0, 4),), ((0, 2), (1, -2)), ((1, 1), (0, 1), (1, -1), (0, 1))),
)
GROUPS = [
    *(CyclicGroup(n) for n in (1, 2, 3, 4, 6, 7, 12)),
    *(DihedralGroup(n) for n in (1, 2, 3, 4, 5, 6)),
    *(SymmetricGroup(n) for n in (2, 3, 4, 5)),
    Q8,
    CubeRotation().symmetry,
    ProductGroup(DihedralGroup(3)),
    ProductGroup(CyclicGroup(4), CyclicGroup(6)),
    ProductGroup(CyclicGroup(3), CyclicGroup(1), CyclicGroup(3), CyclicGroup(2)),
    ProductGroup(Q8, CyclicGroup(4)),
    ProductGroup(Q8, Q8),
    ProductGroup(ProductGroup(CyclicGroup(2), CyclicGroup(3)), SymmetricGroup(3)),
]
every_group = pytest.mark.parametrize(
    "group", GROUPS, ids=lambda group: f"{type(group).__name__}-{group.order}"
)


def product(group, elements):
    return reduce(lambda a, b: group.multiplication_table[a, b], elements, 0)


def value(group, word):
    """The element that a word stands for, by the multiplication table alone."""
    letters = []
    for generator, exponent in word:
        power = np.zeros((1, group.n_generators), dtype=int)
        power[0, generator] = np.sign(exponent)
        letters += [int(group.elements_of(power)[0])] * abs(exponent)
    return product(group, letters)


@every_group
def test_multiplication_is_that_of_a_group(group):
    table, every = group.multiplication_table, np.arange(group.order)
    assert_array_equal(table[0], every)
    assert_array_equal(table[:, 0], every)
    assert_array_equal(table[table], table[:, table])  # (a b) c = a (b c)
    assert_array_equal(table[every, group.inverses], 0)
    assert_array_equal(table[group.inverses, every], 0)


@every_group
def test_every_element_is_the_product_of_its_powers(group):
    for element, (word, powers) in enumerate(
        zip(group.words, group.powers, strict=True)
    ):
        assert word == tuple((k, p) for k, p in enumerate(powers.tolist()) if p)
        assert value(group, word) == element
    assert_array_equal(group.elements_of(group.powers), np.arange(group.order))
    assert group.powers.shape == (group.order, group.n_generators)
    assert not group.powers[0].any()


@every_group
def test_elements_are_in_lexicographic_order_of_their_first_powers(group):
    assert group.powers.tolist() == sorted(group.powers.tolist())
    grid = np.indices(group.generator_orders).reshape(group.n_generators, -1).T
    _, first = np.unique(group.elements_of(grid), return_index=True)
    assert_array_equal(grid[first], group.powers)


@every_group
def test_powers_count_modulo_the_order_of_their_generator(group):
    shifts = np.random.default_rng(0).integers(-3, 3, size=group.powers.shape)
    moved = group.powers + shifts * group.generator_orders
    assert_array_equal(group.elements_of(moved), np.arange(group.order))


@every_group
def test_generator_orders_are_the_smallest_powers_that_change_nothing(group):
    for k, order in enumerate(group.generator_orders):
        powers = [value(group, [(k, 1)] * p) for p in range(order + 1)]
        assert [p for p, element in enumerate(powers) if not element] == [0, order]


@every_group
def test_relations_hold(group):
    assert len(group.relations) > 0
    assert [value(group, word) for word in group.relations] == [0] * len(
        group.relations
    )


@pytest.mark.parametrize("group", [g for g in GROUPS if g.order < 50], ids=str)
def test_relations_define_the_group(group):
    fp_groups = pytest.importorskip("sympy.combinatorics.fp_groups")
    free_groups = pytest.importorskip("sympy.combinatorics.free_groups")
    names = " ".join(f"x{k}" for k in range(group.n_generators))
    free, *generators = free_groups.free_group(names)
    words = [
        reduce(lambda a, b: a * b, (generators[k] ** p for k, p in word))
        for word in group.relations
    ]
    trivial = fp_groups.FpGroup(free, words)
    cosets = trivial.coset_enumeration([], max_cosets=50 * group.order)
    cosets.compress()
    assert len(cosets.table) == group.order


def dihedral_matrices(n):
    angle = 2 * np.pi / n
    c, s = np.cos(angle), np.sin(angle)
    r = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    flip = np.diag([1.0, -1.0, -1.0])
    return [
        np.linalg.matrix_power(r, a) @ np.linalg.matrix_power(flip, b)
        for a in range(n)
        for b in range(2)
    ]


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_dihedral_group_multiplies_like_its_matrices(n):
    group, matrices = DihedralGroup(n), np.stack(dihedral_matrices(n))
    products = matrices[:, np.newaxis] @ matrices
    assert_allclose(products, matrices[group.multiplication_table], atol=1e-12)


@pytest.mark.parametrize(
    "group", [SymmetricGroup(3), SymmetricGroup(5), Q8, CubeRotation().symmetry]
)
def test_permutations_compose_like_maps(group):
    images = group.permutations
    composed = images[:, images].transpose(0, 1, 2)  # [a, b, i] = a[b[i]]
    assert_array_equal(composed, images[group.multiplication_table])
    assert len(np.unique(images, axis=0)) == group.order


def test_symmetric_group_holds_all_permutations():
    assert SymmetricGroup(5).order == 120
    assert SymmetricGroup(5).generator_orders == (2, 3, 4, 5)
    assert_array_equal(SymmetricGroup(3).permutations[[3, 1]], [[1, 0, 2], [1, 2, 0]])


def test_product_multiplies_in_each_factor():
    first, second = DihedralGroup(3), CyclicGroup(4)
    group = ProductGroup(first, second)
    a, b = np.divmod(np.arange(group.order), second.order)
    expected = second.order * first.multiplication_table[np.ix_(a, a)]
    expected += second.multiplication_table[np.ix_(b, b)]
    assert_array_equal(group.multiplication_table, expected)


def test_generator_names():
    assert CyclicGroup(3).generator_names == ("g",)
    assert DihedralGroup(3).generator_names == ("r", "s")
    assert SymmetricGroup(4).generator_names == ("c2", "c3", "c4")
    assert Q8.generator_names == ("g1", "g2")
    names = ProductGroup(DihedralGroup(3), CyclicGroup(2)).generator_names
    assert names == ("r", "s", "g")
    twice = ProductGroup(DihedralGroup(3), DihedralGroup(4)).generator_names
    assert twice == ("r_1", "s_1", "r_2", "s_2")


@every_group
def test_irreps_are_orthogonal_representations(group):
    for irrep in group.irreps:
        D = irrep.matrices
        assert D.shape == (group.order, irrep.dim, irrep.dim)
        assert D.dtype == np.float64
        identity = np.broadcast_to(np.eye(irrep.dim), D.shape)
        assert_allclose(D @ D.transpose(0, 2, 1), identity, atol=1e-12)
        for a, row in enumerate(group.multiplication_table):
            assert_allclose(D[a] @ D, D[row], atol=1e-12)


def commutant_dim(matrices):
    """Dimension of {X : D(g) X = X D(g)}, by its definition."""
    identity = np.eye(matrices.shape[1])
    equations = [np.kron(D, identity) - np.kron(identity, D.T) for D in matrices]
    return len(identity) ** 2 - np.linalg.matrix_rank(np.vstack(equations), tol=1e-8)


@every_group
def test_irreps_are_irreducible_and_of_their_kind(group):
    for irrep in group.irreps:
        kind = {1: "real", 2: "complex", 4: "quaternionic"}
        assert commutant_dim(irrep.matrices) == irrep.commutant_dim
        assert irrep.kind == kind[irrep.commutant_dim]
        # Frobenius-Schur: a reducible one would mix kinds or repeat.
        squares = irrep.character[np.diag(group.multiplication_table)].mean()
        assert squares == pytest.approx({1: 1, 2: 0, 4: -2}[irrep.commutant_dim])


@every_group
def test_irreps_are_all_there_and_different(group):
    sizes = [irrep.dim**2 / irrep.commutant_dim for irrep in group.irreps]
    assert sum(sizes) == group.order
    table = group.character_table
    expected = np.diag([irrep.commutant_dim for irrep in group.irreps])
    assert_allclose(table @ table.T / group.order, expected, atol=1e-12)
    assert group.irreps[0].name == "trivial"
    assert_array_equal(table[0], 1)
    assert len({irrep.name for irrep in group.irreps}) == len(group.irreps)


def test_characters_of_c6_are_the_textbooks():
    table = {irrep.name: irrep.character for irrep in CyclicGroup(6).irreps}
    expected = {
        "trivial": [1, 1, 1, 1, 1, 1],
        "sign": [1, -1, 1, -1, 1, -1],
        "rotation 1": [2, 1, -1, -2, -1, 1],
        "rotation 2": [2, -1, -1, 2, -1, -1],
    }
    assert list(table) == list(expected)
    for name, character in expected.items():
        assert_allclose(table[name], character, atol=1e-12)


def test_characters_of_d4_are_the_textbooks():
    group = DihedralGroup(4)
    of_class = {  # 1, r^2, {r, r^3}, {s, r^2 s}, {r s, r^3 s}
        "trivial": [1, 1, 1, 1, 1],  # A1
        "sign of s": [1, 1, 1, -1, -1],  # A2
        "sign of r": [1, 1, -1, 1, -1],  # B1
        "sign of r and s": [1, 1, -1, -1, 1],  # B2
        "rotation 1": [2, -2, 0, 0, 0],  # E
    }
    rotation, flip = group.powers.T
    classes = np.where(flip, 3 + rotation % 2, np.array([0, 2, 1, 2])[rotation])
    table = {irrep.name: irrep.character for irrep in group.irreps}
    assert list(table) == list(of_class)
    for name, character in of_class.items():
        assert_allclose(table[name], np.array(character)[classes], atol=1e-12)


@pytest.mark.parametrize("group", [SymmetricGroup(3), DihedralGroup(3)])
def test_characters_of_s3_are_the_textbooks(group):
    of_class = [[1, 1, 1], [1, 1, -1], [2, -1, 0]]  # of 1, 3-cycles, swaps
    orders = [order_of(group, element) for element in range(6)]
    classes = np.array([{1: 0, 3: 1, 2: 2}[order] for order in orders])
    assert_allclose(group.character_table, np.array(of_class)[:, classes], atol=1e-12)


def order_of(group, element):
    power, order = element, 1
    while power:
        power, order = group.multiplication_table[power, element], order + 1
    return order


def test_characters_of_s4_are_the_textbooks():
    of_cycle = {  # cycle type: characters of trivial, sign, 2-d and both 3-d
        (1, 1, 1, 1): [1, 1, 2, 3, 3],
        (2, 1, 1): [1, -1, 0, -1, 1],
        (2, 2): [1, 1, 2, -1, -1],
        (3, 1): [1, 1, -1, 0, 0],
        (4,): [1, -1, 0, 1, -1],
    }
    group = SymmetricGroup(4)
    expected = np.array([of_cycle[cycle_type(p)] for p in group.permutations]).T
    assert_allclose(group.character_table, expected, atol=1e-12)
    names = ["trivial", "sign", "2-d", "3-d (1)", "3-d (2)"]
    assert [irrep.name for irrep in group.irreps] == names


def test_rotations_of_the_cube_have_the_irreps_of_s4():
    group = CubeRotation().symmetry
    assert [irrep.dim for irrep in group.irreps] == [1, 1, 2, 3, 3]
    assert {irrep.kind for irrep in group.irreps} == {"real"}
    by_order = {1: 3, 2: -1, 3: 0, 4: 1}  # 1 + 2 cos of the angle
    rotation = [by_order[order_of(group, element)] for element in range(24)]
    assert sorted(multiplicities(group, rotation).round(12)) == [0, 0, 0, 0, 1]


def cycle_type(images):
    points, lengths = set(range(len(images))), []
    while points:
        start = point = min(points)
        length = 0
        while length == 0 or point != start:
            points.discard(point)
            point, length = images[point], length + 1
        lengths.append(length)
    return tuple(sorted(lengths, reverse=True))


def test_q8_has_a_quaternionic_irrep_of_real_dimension_4():
    assert [irrep.dim for irrep in Q8.irreps] == [1, 1, 1, 1, 4]
    assert [irrep.kind for irrep in Q8.irreps] == ["real"] * 4 + ["quaternionic"]
    names = ["sign of g1", "sign of g2", "sign of g1 and g2", "4-d"]
    assert {irrep.name for irrep in Q8.irreps[1:]} == set(names)


def test_products_of_non_real_irreps_fall_apart():
    by_kind = {
        ("complex", "complex"): (CyclicGroup(3), CyclicGroup(3), {"complex": 2}),
        ("quaternionic", "quaternionic"): (Q8, Q8, {"real": 1}),
        ("quaternionic", "complex"): (Q8, CyclicGroup(3), {"complex": 1}),
        ("quaternionic", "real"): (Q8, DihedralGroup(3), {"quaternionic": 1}),
    }
    for first, second, expected in by_kind.values():
        name = f"{first.irreps[-1].name} x {second.irreps[-1].name}"
        irreps = ProductGroup(first, second).irreps
        kinds = [irrep.kind for irrep in irreps if irrep.name.startswith(name)]
        assert {kind: kinds.count(kind) for kind in kinds} == expected


def test_irreps_of_shifts_are_the_frequencies_of_the_2d_fourier_transform():
    group = ProductGroup(CyclicGroup(4), CyclicGroup(3))
    a, b = group.powers.T
    expected = set()
    for j in range(4):
        for k in range(3):
            wave = np.cos(2 * np.pi * (j * a / 4 + k * b / 3))
            scale = 1 if (2 * j % 4, 2 * k % 3) == (0, 0) else 2
            expected.add(tuple((scale * wave).round(6) + 0.0))
    found = {tuple(row.round(6) + 0.0) for row in group.character_table}
    assert found == expected


@every_group
def test_regular_representation_holds_each_irrep_dim_over_commutant_times(group):
    regular = np.zeros(group.order)
    regular[0] = group.order
    expected = [irrep.dim / irrep.commutant_dim for irrep in group.irreps]
    assert_allclose(multiplicities(group, regular), expected, atol=1e-12)


def test_multiplicities_count_the_parts_of_a_sum():
    group = DihedralGroup(5)
    counts = [3, 0, 2, 1]
    character = counts @ group.character_table
    assert_allclose(multiplicities(group, character), counts, atol=1e-12)


@pytest.mark.parametrize("character", [[1, 2], np.ones((4, 1)), [1, 1, np.nan, 1]])
def test_multiplicities_of_a_bad_character(character):
    with pytest.raises(ValueError, match="one finite number for each of the 4 elem"):
        multiplicities(CyclicGroup(4), character)


@every_group
def test_groups_are_values(group):
    group.irreps, group.multiplication_table  # noqa: B018 fill the caches
    again = eval(repr(group), vars(groups))
    assert again == group
    assert hash(again) == hash(group)
    assert repr(again) == repr(group)
    for copied in (pickle.loads(pickle.dumps(group)), copy.deepcopy(group)):
        assert copied == group
        assert_array_equal(copied.character_table, group.character_table)
    assert isinstance(group, FiniteGroup)
    with pytest.raises(FrozenInstanceError):
        group.n = 3


def test_what_was_computed_leaves_no_trace():
    used, fresh = DihedralGroup(4), DihedralGroup(4)
    assert len(used.irreps) == 5
    assert used == fresh
    assert hash(used) == hash(fresh)
    assert joblib.hash(used) == joblib.hash(fresh)
    assert pickle.dumps(used) == pickle.dumps(fresh)


def test_different_groups_differ():
    assert len(set(GROUPS)) == len(GROUPS)
    assert CyclicGroup(2) != DihedralGroup(1)
    assert CyclicGroup(3) == CyclicGroup(np.int64(3))
    given = GeneratedGroup([np.array([1, 0])], relations=[[[0, 2]]])
    assert given == GeneratedGroup(((1, 0),))
    assert repr(given) == "GeneratedGroup(generators=((1, 0),), relations=(((0, 2),),))"


@every_group
def test_data_is_read_only(group):
    group.elements_of(group.powers)[:] = 0  # the caller's own
    arrays = [group.powers, group.multiplication_table, group.inverses]
    arrays += [group.character_table, group.irreps[-1].matrices]
    arrays += [group.irreps[-1].character]
    for array in arrays:
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 0


def test_irreps_are_the_same_every_time():
    for make in (lambda: SymmetricGroup(4), lambda: ProductGroup(Q8, CyclicGroup(4))):
        for first, second in zip(make().irreps, make().irreps, strict=True):
            assert_array_equal(first.matrices, second.matrices)


def rotated_eigenvectors(matrix, eigh=np.linalg.eigh):
    """Eigenvectors, of each eigenspace another basis than LAPACK's."""
    values, vectors = eigh(matrix)
    cuts = np.flatnonzero(np.diff(values) > 1e-7 * np.abs(values).max()) + 1
    rng = np.random.default_rng(5)
    spaces = [
        space @ np.linalg.qr(rng.normal(size=(space.shape[1],) * 2))[0]
        for space in np.split(vectors, cuts, axis=1)
    ]
    return values, np.hstack(spaces)


@pytest.mark.parametrize(
    "make",
    [
        lambda: SymmetricGroup(4),
        lambda: GeneratedGroup(Q8.generators),
        lambda: ProductGroup(CyclicGroup(4), CyclicGroup(3)),
        lambda: ProductGroup(Q8, CyclicGroup(3)),
    ],
)
def test_irreps_do_not_depend_on_the_basis_that_lapack_finds(make, monkeypatch):
    expected = [smallest_parts(irrep) for irrep in make().irreps]
    monkeypatch.setattr(np.linalg, "eigh", rotated_eigenvectors)
    found = [smallest_parts(irrep) for irrep in make().irreps]
    for (matrices, _), (same, _) in zip(found, expected, strict=True):
        assert_allclose(matrices, same, atol=1e-9)


def test_nearly_equal_eigenvalues_are_drawn_again():
    draws = iter([np.diag([1, 1 + 1e-9, 3]), np.diag([1, 2, 2 + 1e-14])])
    spaces = _eigenspaces(lambda rng: next(draws))
    assert [space.shape for space in spaces] == [(3, 1), (3, 2)]


def test_a_large_cyclic_group_is_cheap_to_ask_for_elements():
    group = CyclicGroup(200_000)  # its table would not fit in memory
    assert_array_equal(group.elements_of([-1, 200_001]), [199_999, 1])
    assert group.order == 200_000


@pytest.mark.parametrize(
    ("group", "power", "message"),
    [
        (CyclicGroup(4), [[1, 2]], r"\(n_rows,\) or \(n_rows, 1\) .* \(1, 2\)"),
        (CyclicGroup(4), 1, r"found \(\)"),
        (DihedralGroup(4), [1, 2], r"shape \(n_rows, 2\) .* for each generator, r, s"),
        (DihedralGroup(4), [[1, 2, 3]], r"found \(1, 3\).*exponents of r\^p s\^p"),
        (DihedralGroup(4), [[1, 2.5]], "must hold integers, found .*2.5"),
        (DihedralGroup(4), [[1, np.nan]], "must hold integers, found .*nan"),
        (DihedralGroup(4), [["a", "b"]], "array of integers"),
        (DihedralGroup(4), [[1, 2], [3]], "array of integers"),
        (DihedralGroup(4), [[1, 2**70]], "array of integers"),
        (DihedralGroup(4), None, "array of integers"),
    ],
)
def test_bad_power(group, power, message):
    with pytest.raises(ValueError, match=message):
        group.elements_of(power)


def test_one_generator_takes_a_column_or_a_row_of_powers():
    assert_array_equal(CyclicGroup(4).elements_of([[5], [2]]), [1, 2])
    assert_array_equal(CyclicGroup(4).elements_of([5.0, 2.0]), [1, 2])
    assert CyclicGroup(4).elements_of(np.empty((0,), int)).shape == (0,)
    assert DihedralGroup(4).elements_of(np.empty((0, 2), int)).shape == (0,)


@pytest.mark.parametrize("make", [CyclicGroup, DihedralGroup, SymmetricGroup])
@pytest.mark.parametrize("n", [0, -1, 2.0, "3", None, True])
def test_bad_n(make, n):
    with pytest.raises(ValueError, match=f"n of {make.__name__} must be an integer"):
        make(n)


@pytest.mark.parametrize("n", [1, 6])
def test_symmetric_group_is_for_few_things(n):
    with pytest.raises(ValueError, match=f"2 to 5, found {n}"):
        SymmetricGroup(n)


def test_bad_factors():
    with pytest.raises(ValueError, match="at least one group"):
        ProductGroup()
    with pytest.raises(TypeError, match="argument of its own, found list"):
        ProductGroup([CyclicGroup(2), CyclicGroup(3)])


@pytest.mark.parametrize(
    ("generators", "message"),
    [
        ([], "at least one permutation"),
        ([(1, 0), (0, 0)], r"generators\[1\] must be a permutation.*\(0, 0\)"),
        ([(1, 2)], r"generators\[0\] must be a permutation"),
        ([()], r"generators\[0\] must be a permutation"),
        ([(1.0, 0.0)], r"generators\[0\] must be a permutation"),
        (["10"], r"generators\[0\] must be a permutation"),
        ([1, 0], r"generators\[0\] must be a permutation"),
        ([(1, 0), (1, 0, 2)], "permutations of 2 and 3 points.*map the further"),
    ],
)
def test_generators_that_are_no_permutations(generators, message):
    with pytest.raises(ValueError, match=message):
        GeneratedGroup(generators)


def test_elements_that_are_no_product_in_order():
    generators = [(1, 0, 2, 3), (1, 2, 3, 0)]  # they generate S_4, 24 > 2 * 4
    with pytest.raises(ValueError, match=r"no product g1\^p g2\^p in this order"):
        GeneratedGroup(generators)


def test_the_error_names_an_element_to_add():
    generators = [(1, 0, 2, 3), (1, 2, 3, 0)]
    for _ in range(5):
        try:
            group = GeneratedGroup(generators)
        except ValueError as error:
            start = str(error).index("permutation (") + len("permutation (")
            images = str(error)[start:].split(")")[0]
            generators.append([int(image) for image in images.split(",")])
    assert group.order == 24


def test_the_order_of_the_generators_matters():
    c2, c3, c4 = (1, 0, 2, 3), (1, 2, 0, 3), (1, 2, 3, 0)
    assert GeneratedGroup([c2, c3, c4]).order == 24
    with pytest.raises(ValueError, match="change the order of the generators"):
        GeneratedGroup([c2, c4, c3])


def test_too_many_elements():
    cycles = [(*range(1, k), 0, *range(k, 7)) for k in range(2, 8)]
    with pytest.raises(ValueError, match="more than 2,000 elements"):
        GeneratedGroup(cycles)


@pytest.mark.parametrize(
    ("relations", "message"),
    [
        ([[(0, 2)]], r"g1\^2 = 1 does not hold.*g1\^2 = g2\^2"),
        ([[(0, 4)], [(0, 1), (1, 1)]], "g1 g2 = 1 does not hold.*g1 g2 = g1 g2"),
        ([[(1, 1), (0, -1)]], r"g2 g1\^-1 = 1 does not hold"),
        ([[(2, 1)]], "generators from 0 to 1, found"),
        ([[(-1, 4)]], "generators from 0 to 1, found"),
        ([[(0, 1.5)]], "must be words"),
        ([(0, 4)], "must be words"),
        (["ab"], "must be words"),
        ([[(0, 4, 1)]], "must be words"),
    ],
)
def test_bad_relations(relations, message):
    with pytest.raises(ValueError, match=message):
        GeneratedGroup(Q8_GENERATORS, relations=relations)


def test_without_relations_the_orders_of_the_generators_stand():
    assert GeneratedGroup(Q8_GENERATORS).relations == (((0, 4),), ((1, 4),))


def test_repr_of_an_irrep():
    assert repr(CyclicGroup(3).irreps[1]) == (
        "Irrep(name='rotation 1', dim=2, kind='complex')"
    )
