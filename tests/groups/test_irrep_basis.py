import numpy as np
import pytest

from sk_eqsae.groups import (
    CyclicGroup,
    DihedralGroup,
    GeneratedGroup,
    ProductGroup,
    SymmetricGroup,
)
from sk_eqsae.groups._element_matrices import irrep_basis, irrep_block
from tests.inspection.representations import fitter_of

from .representations import known_representation

QUATERNIONS = GeneratedGroup(((1, 2, 3, 0, 5, 6, 7, 4), (4, 7, 6, 5, 2, 1, 0, 3)))
GROUPS = [
    CyclicGroup(1),
    CyclicGroup(2),
    CyclicGroup(4),
    CyclicGroup(7),
    DihedralGroup(4),
    SymmetricGroup(4),
    ProductGroup(CyclicGroup(3), CyclicGroup(4)),
    QUATERNIONS,
]


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_matrices_become_blocks(group):
    M = known_representation(group)
    basis = irrep_basis(fitter_of(group, M))
    blocks = [irrep_block(group, basis.multiplicities, e) for e in range(group.order)]
    np.testing.assert_allclose(
        basis.to_irreps @ basis.from_irreps, np.eye(len(M[0])), atol=1e-10
    )
    np.testing.assert_allclose(
        basis.to_irreps @ M @ basis.from_irreps, blocks, atol=1e-9
    )


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_multiplicities_are_those_of_copies_of_the_regular_representation(group):
    multiplicities = irrep_basis(
        fitter_of(group, known_representation(group))
    ).multiplicities
    expected = [2 * irrep.dim // irrep.commutant_dim for irrep in group.irreps]
    assert multiplicities.tolist() == expected


def test_orthogonal_matrices_need_no_more_than_a_rotation():
    group = DihedralGroup(3)
    counts = np.array([2, 1, 3])
    blocks = np.array([irrep_block(group, counts, e) for e in range(group.order)])
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(9, 9)))[0]
    basis = irrep_basis(fitter_of(group, rotation @ blocks @ rotation.T))
    np.testing.assert_allclose(
        basis.to_irreps @ basis.to_irreps.T, np.eye(9), atol=1e-12
    )
    np.testing.assert_allclose(basis.to_irreps.T, basis.from_irreps, atol=1e-12)


def test_matrices_that_break_the_law_are_refused():
    M = known_representation(CyclicGroup(4))
    M[1] += 0.01
    with pytest.raises(ValueError, match="do not obey the law of CyclicGroup"):
        irrep_basis(fitter_of(CyclicGroup(4), M))
