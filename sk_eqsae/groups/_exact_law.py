"""Matrices that obey a group's law, from moments of orbits; when to trust them."""

from dataclasses import dataclass, replace
from functools import reduce
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from .._warnings import warn
from ._group import FiniteGroup, Irrep, generator_elements, smallest_parts
from ._moments import IrrepMoments, Level, OrbitMoments, gram_of_irreps, rows_of_irreps

_CUTOFF = 1e-6  # share of the mean variance: directions with less are left alone
_LARGE = 1_024  # dimensions from which eigenvectors are single precision
_NOISE = 0.5  # unrelated rows have eigenvalue 1, an exact law has order
_GAP = 1e-8  # eigenvalues that are closer belong to one irrep
_DEPENDENT = 1e-10  # square of a length below which directions are not new
_NEAR = 1e-2  # error of columns that a few steps make orthonormal, without eigenvectors
_POLISHED = 1e-8  # error that one step takes below rounding
_MOST_STEPS = 4
_ROWS_PER_DIRECTION = 2  # fewer are too few
_ROUNDED = 1e-10  # order error from which the law is not exact for all purposes


class Whitening(NamedTuple):
    """Coordinates in which rows are white, of the directions with variance."""

    vectors: NDArray  # (n_features, rank), orthonormal
    root: NDArray  # (rank,), standard deviation times the root of the number of rows

    @property
    def white(self) -> NDArray:
        """Make rows white, by multiplication."""
        return self.vectors / self.root

    @property
    def colour(self) -> NDArray:
        """Undo that: white rows times this, transposed, are rows."""
        return self.vectors * self.root


@dataclass(frozen=True)
class Representation:
    """An exact orthogonal representation on n dimensions.

    The group leaves directions alone that are in none of the frames.
    """

    group: FiniteGroup
    frames: list[NDArray]  # of each irrep (n, dim, n_copies), orthonormal directions

    def factors(self, element: int) -> tuple[NDArray, NDArray]:
        """Factors (n, m), (m, n) of the matrix of an element, ``I + left @ right``."""
        left, right = [], []
        for irrep, frame in zip(self.group.irreps, self.frames, strict=True):
            change = irrep.matrices[element] - np.eye(irrep.dim)
            if change.any():
                left.append(np.einsum("iac,ab->ibc", frame, change))
                right.append(frame)
        none = np.empty((len(self.frames[0]), 0, 0))
        return _columns([none, *left]), _columns([none, *right]).T

    def matrix(self, element: int) -> NDArray:
        """Orthogonal matrix (n, n) of an element."""
        left, right = self.factors(element)
        return np.eye(len(left)) + left @ right

    @property
    def multiplicities(self) -> NDArray:
        """How often each irrep occurs; directions left alone count as trivial."""
        counts = [frame.shape[2] for frame in self.frames]
        halved = [i.kind == "quaternionic" for i in self.group.irreps]
        counts = np.where(halved, np.array(counts) // 2, counts)
        dims = np.array([irrep.dim for irrep in self.group.irreps])
        counts[0] += len(self.frames[0]) - counts @ dims
        return counts


@dataclass(frozen=True)
class ExactLaw:
    """An exact representation on the activations, M_g = S Q_g S^-1."""

    representation: Representation  # Q, orthogonal, in white coordinates
    whitening: Whitening  # where those come from
    skew: NDArray | None = None  # (rank, rank), what S has beside it; None is I

    @property
    def rank(self) -> int:
        """Number of directions with variance."""
        return len(self.whitening.root)

    def matrix(self, element: int) -> NDArray:
        """Matrix of an element; the identity in directions without variance."""
        left, right = self.representation.factors(element)
        if self.skew is not None:
            left, right = self.skew @ left, np.linalg.solve(self.skew.T, right.T).T
        matrix = (self.whitening.colour @ left) @ (right @ self.whitening.white.T)
        matrix.flat[:: len(matrix) + 1] += 1
        return matrix

    def generators(self) -> NDArray:
        """Matrices of the generators, (n_generators, n_features, n_features)."""
        elements = generator_elements(self.representation.group)
        first = self.matrix(elements[0])[np.newaxis]  # no copy if it is the only one
        if len(elements) == 1:
            return first
        return np.stack([first[0], *(self.matrix(g) for g in elements[1:])])


def law_of_whole_orbits(
    moments: OrbitMoments, n_features: int, *, use_up: bool = False
) -> ExactLaw:
    """Exact law nearest to what orbits without missing rows say."""
    # In coordinates in which the rows are white, the moments ``sum of x_gh x_h'`` would
    # be an orthogonal representation if M explained everything; the exact one near to
    # them is taken back to the activations. Variance is compared with its mean over
    # n_features. To use sums up, to free each as soon as it is solved, lowers the peak
    # of memory.
    irreps, its_level = moments.levelled(use_up=use_up)
    rows, limits = rows_of_irreps(irreps), (n_features, its_level.rounding)
    if rows is None:
        whitening = whitening_of_gram(gram_of_irreps(irreps), *limits)
    else:  # fewer rows than features
        small = whitening_of_gram(rows @ rows.T, *limits)
        # directions with little variance are orthogonal but for rounding over variance
        whitening = Whitening(_polished(rows.T @ small.white), small.root)
    spectra = []
    for irrep in irreps:
        spectra.append(_spectrum_of_moments(irrep, whitening.white))
        if use_up:
            irrep.forget()
    n = len(whitening.root)
    representation = leading_representation(spectra, moments.group, n)
    return with_fixed_mean(ExactLaw(representation, whitening), its_level)


def whitening_of_gram(gram: NDArray, n_features: int, rounding: float) -> Whitening:
    """Whitening from the Gram matrix of rows, which is overwritten."""
    cutoff = _CUTOFF * np.trace(gram) / n_features
    values, vectors = eigh(gram, driver="evd", overwrite_a=True)
    kept = values > max(cutoff, rounding, np.finfo(float).tiny)
    return Whitening(vectors[:, kept], np.sqrt(values[kept]))


class IrrepSpectrum(NamedTuple):
    """Directions in which activations may follow an irrep, the clearest first."""

    irrep: Irrep
    values: NDArray  # (n_found,), how clear, from 1 to the order of the group
    vectors: NDArray  # (n, dim, n_found), of about unit length

    @property
    def dim(self) -> int:
        """Say how many dimensions each of `values` stands for."""
        # Those of a quaternionic irrep come in pairs that span the same.
        return self.irrep.dim // (2 if self.irrep.kind == "quaternionic" else 1)


def _spectrum_of_moments(moments: IrrepMoments, white: NDArray) -> IrrepSpectrum:
    """Clear directions of one irrep, in white coordinates."""
    if not moments.rows:
        F = hermitian([_both_sides(part, white) for part in moments.gram])
        return _spectrum(moments.irrep, moments.embedding, *_clear_eigenvectors(F))
    n_vectors = len(moments.rows[0])
    parts = [part.reshape(-1, len(white)) @ white for part in moments.rows]
    rows = parts[0] if len(parts) == 1 else parts[0] + 1j * parts[1]
    rows = rows.reshape(n_vectors, -1)
    if n_vectors >= rows.shape[1]:
        values, vectors = _clear_eigenvectors(rows.T @ rows.conj())
    else:
        values, weights = _clear_eigenvectors(rows.conj() @ rows.T)
        vectors = rows.T @ weights / np.sqrt(values)
    return _spectrum(moments.irrep, moments.embedding, values, vectors)


def hermitian(gram: list[NDArray]) -> NDArray:
    """Moments F (k * n, k * n) of an irrep, symmetric or Hermitian."""
    if len(gram) == 1:
        return gram[0]
    matrix = gram[0].astype(np.complex128)
    matrix.imag = gram[1] - gram[1].T
    return matrix


def _both_sides(matrix: NDArray, white: NDArray) -> NDArray:
    """Multiply each block of a matrix by white, from both sides."""
    d, n = white.shape
    k = len(matrix) // d
    blocks, result = matrix.reshape(k, d, k, d), np.empty((k, n, k, n))
    for a, b in np.ndindex(k, k):
        result[a, :, b] = white.T @ blocks[a, :, b] @ white
    return result.reshape(k * n, k * n)


def _clear_eigenvectors(F: NDArray) -> tuple[NDArray, NDArray]:
    """Eigenvectors of moments that are no mere noise, the largest eigenvalue first.

    They are of single precision if there are many: they are made orthonormal later.
    """
    if len(F) > _LARGE:
        F = F.astype(np.complex64 if np.iscomplexobj(F) else np.float32)
    values, vectors = eigh(F, driver="evr", subset_by_value=(_NOISE, np.inf))
    return values[::-1].astype(np.float64), vectors[:, ::-1]


def _spectrum(
    irrep: Irrep, embedding: NDArray, values: NDArray, vectors: NDArray
) -> IrrepSpectrum:
    """Directions of an irrep from eigenvectors (k * n, n_found) of its moments."""
    k = embedding.shape[1]
    vectors = vectors.reshape(k, len(vectors) // k, len(values))
    scale = np.sqrt(irrep.dim * (1 if irrep.kind == "real" else 2))
    directions = np.einsum("dk,knm->ndm", scale * embedding, vectors).real
    return IrrepSpectrum(irrep, values, directions)


def leading_representation(
    spectra: list[IrrepSpectrum], group: FiniteGroup, n: int
) -> Representation:
    """Orthogonal representation on the leading invariant subspace."""
    # Moments ``T_g = Y' P_g Y`` are overlaps of a frame Y with its moved copies P_g Y.
    # The copies together span a space on which the group acts exactly; its n leading
    # directions, those that the copies share, are invariant and make the
    # representation. Found irrep by irrep, they are eigenvectors of the irreps'
    # moments. A copy of an irrep that does not fit whole into n directions is left out;
    # the group leaves the directions that it would have taken alone.
    owner = np.repeat(np.arange(len(spectra)), [len(s.values) for s in spectra])
    values = np.concatenate([s.values for s in spectra])
    by_clarity = np.argsort(-values, kind="stable")
    owner, values = owner[by_clarity], values[by_clarity]
    dims = np.array([s.dim for s in spectra])[owner].cumsum()
    n_kept = _last_gap(values, int(np.searchsorted(dims, n, side="right")))
    while True:
        counts = np.bincount(owner[:n_kept], minlength=len(spectra))
        kept = zip(spectra, counts, strict=True)
        frames, rank = _orthonormal([s.vectors[:, :, :count] for s, count in kept])
        n_dims = dims[n_kept - 1] if n_kept else 0
        if rank == n_dims:
            return Representation(group, frames)
        n_kept = _last_gap(values, int(np.searchsorted(dims, rank, side="right")))


def _last_gap(values: NDArray, n: int) -> int:
    """Largest cut at n or before that separates no equal eigenvalues."""
    while 0 < n < len(values) and values[n - 1] - values[n] < _GAP:
        n -= 1
    return n


def _orthonormal(frames: list[NDArray]) -> tuple[list[NDArray], int]:
    """Nearest frames that are orthonormal together, and how many dimensions.

    Of directions that are there twice, as in a quaternionic irrep, each gets half.
    """
    columns = _columns(frames)
    if columns.size == 0:
        return frames, 0
    rank = min(columns.shape)
    if np.linalg.norm(_gram_error(columns)) >= _NEAR:
        values, vectors = eigh(columns @ columns.T, driver="evd", overwrite_a=True)
        new = values > _DEPENDENT * values[-1]
        vectors, rank = vectors[:, new], int(new.sum())
        columns = (vectors.T @ columns) / np.sqrt(values[new])[:, np.newaxis]
        columns = vectors @ columns
    columns = _polished(columns)
    ends = np.cumsum([frame.shape[1] * frame.shape[2] for frame in frames])[:-1]
    parts = np.split(columns, ends, axis=1)
    return [p.reshape(f.shape) for p, f in zip(parts, frames, strict=True)], rank


def _columns(frames: list[NDArray]) -> NDArray:
    return np.hstack([f.reshape(len(f), f.shape[1] * f.shape[2]) for f in frames])


def _polished(columns: NDArray) -> NDArray:
    """Take small errors out of columns that are orthonormal but for those.

    Each step of Newton and Schulz squares the error.
    """
    for _ in range(_MOST_STEPS):
        error = _gram_error(columns)
        if columns.shape[0] < columns.shape[1]:
            columns = columns - 0.5 * error @ columns
        else:
            columns = columns - 0.5 * columns @ error
        if np.linalg.norm(error) < _POLISHED:
            break
    return columns


def _gram_error(columns: NDArray) -> NDArray:
    """Gram matrix of columns, or of rows if there are fewer, less the identity."""
    wide = columns.shape[0] < columns.shape[1]
    error = columns @ columns.T if wide else columns.T @ columns
    error.flat[:: len(error) + 1] -= 1
    return error


def with_fixed_mean(law: ExactLaw, its_level: Level) -> ExactLaw:
    """Change S by as little as makes M leave a large mean alone."""
    if its_level.fixed is None:
        return law
    white = law.whitening.white.T @ its_level.fixed
    still = white.copy()  # its mean over the group, of which only the trivial irrep has
    for frame in law.representation.frames[1:]:
        columns = _columns([frame])
        still -= columns @ (columns.T @ white)
    if 2 * still @ still <= white @ white:  # M turns it: S would be too far from I
        return law
    change = np.outer(white - still, still) / (still @ still)
    return replace(law, skew=np.eye(len(white)) + change)


def exact_representation(T: NDArray, group: FiniteGroup) -> Representation:
    """Orthogonal representation near to estimates T (order, n, n) of one."""
    order, n = len(T), T.shape[1]
    spectra = []
    for irrep in group.irreps:
        rho, embedding = smallest_parts(irrep)
        k = rho.shape[1]
        F = rho.reshape(order, k * k).T @ T.reshape(order, n * n)  # sum of rho (x) T
        F = F.reshape(k, k, n, n).transpose(0, 2, 1, 3).reshape(k * n, k * n)
        found = _clear_eigenvectors((F + F.conj().T) / 2)
        spectra.append(_spectrum(irrep, embedding, *found))
    return leading_representation(spectra, group, n)


def law_error(group: FiniteGroup, generators: NDArray, n_features: int) -> float:
    """Largest distance of a relation from the identity, over the root of n_features."""
    identity = np.eye(generators.shape[1])
    distances = []
    for word in group.relations:
        powers = (np.linalg.matrix_power(generators[k], p) for k, p in word)
        distances.append(np.linalg.norm(reduce(np.matmul, powers, identity) - identity))
    return float(max(distances)) / n_features**0.5


def warn_if_too_few(rank: int, moments: OrbitMoments) -> None:
    """Warn of too few rows for the directions in which they vary."""
    # With 2 rows for each direction with variance, R2 on orbits that were not fitted is
    # 0.01 below its ceiling of 0.99 and 0.2 below one of 0.8; with 1.5 it is 0.03 and
    # 0.5 below, with 1 row any matrix fits. That holds for C2, C4 and D4 alike.
    if moments.n_rows >= _ROWS_PER_DIRECTION * rank:
        return
    needed = -(-_ROWS_PER_DIRECTION * rank // moments.group.order)
    what_to_do = f"Give {needed} orbits or more, or set"
    if moments.n_orbits == 1:
        what_to_do = (
            "Some matrix moves any single orbit, so that of itself it says nothing. If "
            "there is no other, as where the group takes each input to each, set"
        )
    warn(
        f"M is not to be trusted: {moments.n_orbits} orbits with {moments.n_rows} "
        f"rows are too few for the {rank} directions in which they vary. "
        f"{what_to_do} n_components to use fewer directions."
    )


def warn_if_rounded(order_error: float, generators: NDArray) -> None:
    """Warn of matrices that obey the law less well than they should."""
    # Even the exact matrices, computed with more digits and rounded to float64, are
    # about ``order * eps * norm^2`` away from the law, and products of rounded matrices
    # lose some more; a Newton step in float64 adds errors of that size.
    if order_error <= _ROUNDED:
        return
    norm = np.linalg.norm(generators, 2, axis=(1, 2)).max()
    warn(
        "M is not to be trusted in all digits: the group's law holds to "
        f"{order_error:.0e}, because M has norm {norm:.0e} and float64 rounds so "
        "large entries. Directions with hardly any variance are moved into ones with "
        "much; set n_components to leave them alone, if the score allows."
    )
