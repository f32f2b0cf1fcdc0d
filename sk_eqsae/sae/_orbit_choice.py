"""How many latent orbits of each length a tied dictionary is to have."""

import math
import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, clone

from .._rows import read_rows
from ..groups import FiniteGroup
from ..groups._element_matrices import matrices_of, moved_by_all
from ..groups._group import coset_representatives
from ._base import BaseSAE

_ALIKE = 0.5  # cosine of codes that should be equal
_SHARE = 0.2  # of the steps, in which a regular dictionary is trained
_ROWS = 2**14  # that are coded, moved ones counted, and at least so many orbits of them
_ORBITS = 64


def kinds_with_vectors(activation_transform: BaseEstimator) -> NDArray:
    """Whether a vector may be left alone by all of a subgroup, and by no more."""
    # Of what H leaves alone, a space of d dimensions with projection P, g moves nothing
    # if tr(M_g P) = mean over h of tr(M_gh) is d.
    matrices = matrices_of(activation_transform)
    group, n = matrices.group, matrices.generators.shape[1]
    outside = 0 if matrices.basis is None else len(matrices.basis) - n
    traces = np.empty(group.order)
    for element, matrix in matrices.each():
        traces[element] = np.trace(matrix) + outside
    found = []
    for subgroup in group.subgroups:
        if subgroup.order == group.order:
            found.append(traces.mean() > 0.5)
            continue
        products = np.arange(group.order)[:, np.newaxis]
        if subgroup.order > 1:
            products = group.multiplication_table[:, subgroup.elements]
        shared = traces[products].mean(axis=1)
        alone = (shared > shared[0] - 0.5).sum() == subgroup.order
        found.append(shared[0] > 0.5 and alone)
    return np.array(found)


class ShortRegular(NamedTuple):
    """A regular autoencoder that was trained for fewer steps, to be looked at."""

    sae: BaseSAE
    rows: NDArray  # of those that it was trained on
    is_done: bool  # and not interrupted


def short_regular(sae: Any, kind: Any, X: Any, seed: int) -> ShortRegular:
    """Train a regular autoencoder of the settings of another one."""
    regular = _regular_for(sae, kind, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is not done, and nobody will use it
        regular.fit(X)
    n_batches = -(-len(X) // regular._schedule()["batch_size"])
    is_done = regular.n_iter_ * n_batches >= regular._n_steps(len(X))
    n_rows = max(_ORBITS, _ROWS // sae.order_)
    rows = np.random.default_rng(seed).permutation(len(X))[:n_rows]
    return ShortRegular(regular, read_rows(X, np.sort(rows)), is_done)


def shares_of_kinds(
    short: ShortRegular, activation_transform: BaseEstimator, possible: NDArray
) -> NDArray:
    """Share of latents that each subgroup leaves alone."""
    # In a fifth of the steps its latents come to be as the group makes them: the code
    # of a moved row is then that of the row for those that H leaves alone,
    #
    #     cos_g = sum over rows of z(M_g x) z(x) / (|z(M_g x)| |z(x)|) = 1,    g in H,
    #
    # and one counts for the largest H, or a conjugate, with a mean of 0.5 or more.
    group = activation_transform.symmetry_
    cosines, is_live = _cosines(short.sae, activation_transform, short.rows)
    kinds = np.zeros(len(is_live), dtype=np.int64)
    for kind in np.flatnonzero(possible[1:]) + 1:  # but for the trivial one
        conjugates = _of_conjugates(cosines, group, group.subgroups[kind])
        alike = [of_elements.mean(axis=0) for of_elements in conjugates]
        kinds[np.max(alike, axis=0) >= _ALIKE] = kind
    counts = np.bincount(kinds[is_live], minlength=len(possible)) * possible
    return counts / max(1, counts.sum())


def _regular_for(sae: Any, kind: Any, seed: int) -> BaseSAE:
    given = sae.get_params(deep=False)
    names = kind().get_params().keys() - {"nested", "warm_start"}
    settings = {name: given[name] for name in names}
    settings |= {"hidden_dim": None, "random_state": seed, "sparse_output": True}
    schedule = sae._schedule()
    for name in ("max_epochs", "max_steps"):
        if schedule[name] is not None:
            settings[name] = math.ceil(_SHARE * schedule[name])
    return clone(kind(**settings))


def _cosines(
    sae: Any, activation_transform: BaseEstimator, X: NDArray
) -> tuple[NDArray, NDArray]:
    """Cosines (order, n_latents) of codes of rows and of moved ones; who is live."""
    Z = _codes(sae, X)
    norms = np.sqrt(Z.power(2).sum(axis=0))
    cosines = np.zeros((activation_transform.symmetry_.order, len(norms)))
    for element, moved in moved_by_all(activation_transform, X):
        of_moved = _codes(sae, moved)
        product = norms * np.sqrt(of_moved.power(2).sum(axis=0))
        same = (Z * of_moved).sum(axis=0)
        np.divide(same, product, out=cosines[element], where=product > 0)
    return cosines, norms > 0


def _codes(sae: Any, X: NDArray) -> csr_array:
    """Sparse codes, whose squares may leave the range of float32."""
    return sae.transform(X.astype(np.float32)).astype(np.float64)


def _of_conjugates(
    cosines: NDArray, group: FiniteGroup, subgroup: Any
) -> list[NDArray]:
    """Cosines of the elements but the identity of each conjugate of a subgroup."""
    if subgroup.order == group.order:
        return [cosines[1:]]
    table, H = group.multiplication_table, subgroup.elements[1:]
    first = coset_representatives(group, subgroup)
    inverses = group.inverses[first][:, np.newaxis]
    conjugates = np.unique(np.sort(table[table[first][:, H], inverses]), axis=0)
    return [cosines[each] for each in conjugates]
