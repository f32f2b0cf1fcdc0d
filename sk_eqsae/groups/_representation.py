"""From moments in white coordinates to an exact representation of a group."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from ._group import FiniteGroup
from ._irreps import Irrep
from ._moments import smallest_parts

_LARGE = 1_024  # dimensions from which eigenvectors are single precision
_NOISE = 0.5  # unrelated rows have eigenvalue 1, an exact law has order
_GAP = 1e-8  # eigenvalues that are closer belong to one irrep
_DEPENDENT = 1e-10  # square of a length below which directions are not new
_NEAR = 1e-2  # error of columns that a few steps make orthonormal, without eigenvectors
_POLISHED = 1e-8  # error that one step takes below rounding
_MOST_STEPS = 4


class IrrepSpectrum(NamedTuple):  # numpydoc ignore=PR02
    """Directions in which activations may follow an irrep, the clearest first.

    Parameters
    ----------
    irrep : Irrep
        The irrep.
    values : ndarray of shape (n_found,)
        How clear, from 1 (not at all) to the order of the group.
    vectors : ndarray of shape (n, dim, n_found)
        A direction for each dimension of the irrep.
    """

    irrep: Irrep
    values: NDArray
    vectors: NDArray

    @property
    def dim(self) -> int:
        """Say how many dimensions each of `values` stands for."""
        # Those of a quaternionic irrep come in pairs that span the same.
        return self.irrep.dim // (2 if self.irrep.kind == "quaternionic" else 1)

    def leading(self, n_found: int) -> "IrrepSpectrum":
        """Keep the clearest ones.

        Parameters
        ----------
        n_found : int
            How many.

        Returns
        -------
        leading : IrrepSpectrum
            The first `n_found`.
        """
        return IrrepSpectrum(
            self.irrep, self.values[:n_found], self.vectors[:, :, :n_found]
        )


@dataclass(frozen=True)
class Representation:  # numpydoc ignore=PR02
    """An exact orthogonal representation on n dimensions.

    Parameters
    ----------
    group : FiniteGroup
        The group.
    frames : list of ndarray of shape (n, dim, n_copies)
        For each irrep, orthonormal directions that it moves; the group leaves all
        others alone.
    values : list of ndarray of shape (n_copies,)
        How clearly they follow it, from 1 (not at all) to the order of the group.
    """

    group: FiniteGroup
    frames: list[NDArray]
    values: list[NDArray]

    def factors(self, element: int) -> tuple[NDArray, NDArray]:
        """Write the matrix of an element as ``I + left @ right``.

        Parameters
        ----------
        element : int
            The element.

        Returns
        -------
        left : ndarray of shape (n, m)
            What the directions become, less what they were.
        right : ndarray of shape (m, n)
            The directions.
        """
        left, right = [], []
        for irrep, frame in zip(self.group.irreps, self.frames, strict=True):
            change = irrep.matrices[element] - np.eye(irrep.dim)
            if change.any():
                left.append(np.einsum("iac,ab->ibc", frame, change))
                right.append(frame)
        none = np.empty((len(self.frames[0]), 0, 0))
        return _columns([none, *left]), _columns([none, *right]).T

    def matrix(self, element: int) -> NDArray:
        """Matrix of an element.

        Parameters
        ----------
        element : int
            The element.

        Returns
        -------
        Q : ndarray of shape (n, n)
            An orthogonal matrix.
        """
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


def spectrum(
    irrep: Irrep, embedding: NDArray, values: NDArray, vectors: NDArray
) -> IrrepSpectrum:
    """Take directions of an irrep from eigenvectors of its moments.

    Parameters
    ----------
    irrep : Irrep
        The irrep.
    embedding : ndarray of shape (dim, k)
        Of the complex part that the moments belong to.
    values : ndarray of shape (n_found,)
        Eigenvalues, the largest first.
    vectors : ndarray of shape (k * n, n_found)
        Eigenvectors.

    Returns
    -------
    spectrum : IrrepSpectrum
        Directions of about unit length.
    """
    k = embedding.shape[1]
    vectors = vectors.reshape(k, len(vectors) // k, len(values))
    scale = np.sqrt(irrep.dim * (1 if irrep.kind == "real" else 2))
    directions = np.einsum("dk,knm->ndm", scale * embedding, vectors).real
    return IrrepSpectrum(irrep, values, directions)


def clear_eigenvectors(F: NDArray) -> tuple[NDArray, NDArray]:
    """Find eigenvectors of moments in white coordinates that are no mere noise.

    Parameters
    ----------
    F : ndarray of shape (n, n)
        Moments, symmetric or Hermitian.

    Returns
    -------
    values : ndarray of shape (n_found,)
        Eigenvalues, the largest first.
    vectors : ndarray of shape (n, n_found)
        Eigenvectors in columns, to single precision if there are many: they are
        made orthonormal later.
    """
    if len(F) > _LARGE:
        F = F.astype(np.complex64 if np.iscomplexobj(F) else np.float32)
    values, vectors = eigh(F, driver="evr", subset_by_value=(_NOISE, np.inf))
    return values[::-1].astype(np.float64), vectors[:, ::-1]


def exact_representation(T: NDArray, group: FiniteGroup) -> Representation:
    """Orthogonal representation of a group near to given matrices.

    Parameters
    ----------
    T : ndarray of shape (order, n, n)
        One matrix per group element, estimates of an orthogonal representation;
        element 0 is the identity.
    group : FiniteGroup
        The group.

    Returns
    -------
    representation : Representation
        An exact one: see :func:`leading_representation`.
    """
    spectra = []
    for irrep in group.irreps:
        rho, embedding = smallest_parts(irrep)
        size = rho.shape[1] * T.shape[1]
        F = np.einsum("gab,gij->aibj", rho, T).reshape(size, size)
        found = clear_eigenvectors((F + F.conj().T) / 2)
        spectra.append(spectrum(irrep, embedding, *found))
    return leading_representation(spectra, group, T.shape[1])


def leading_representation(
    spectra: list[IrrepSpectrum], group: FiniteGroup, n: int
) -> Representation:
    """Orthogonal representation on the leading invariant subspace.

    Moments ``T_g = Y' P_g Y`` are overlaps of a frame Y with its moved copies P_g Y.
    The copies together span a space on which the group acts exactly; its n leading
    directions, those that the copies share, are invariant and make the
    representation. Found irrep by irrep, they are eigenvectors of the irreps'
    moments. A copy of an irrep that does not fit whole into n directions is left
    out; the group leaves the directions that it would have taken alone.

    Parameters
    ----------
    spectra : list of IrrepSpectrum
        Of each irrep.
    group : FiniteGroup
        The group.
    n : int
        Dimensions.

    Returns
    -------
    representation : Representation
        An exact orthogonal representation.
    """
    owner = np.repeat(np.arange(len(spectra)), [len(s.values) for s in spectra])
    values = np.concatenate([s.values for s in spectra])
    by_clarity = np.argsort(-values, kind="stable")
    owner, values = owner[by_clarity], values[by_clarity]
    dims = np.array([s.dim for s in spectra])[owner].cumsum()
    n_kept = _last_gap(values, int(np.searchsorted(dims, n, side="right")))
    while True:
        counts = np.bincount(owner[:n_kept], minlength=len(spectra))
        kept = [s.leading(int(c)) for s, c in zip(spectra, counts, strict=True)]
        frames, rank = _orthonormal([s.vectors for s in kept])
        n_dims = dims[n_kept - 1] if n_kept else 0
        if rank == n_dims:
            return Representation(group, frames, [s.values for s in kept])
        n_kept = _last_gap(values, int(np.searchsorted(dims, rank, side="right")))


def _last_gap(values: NDArray, n: int) -> int:
    """Largest cut at n or before that separates no equal eigenvalues."""
    while 0 < n < len(values) and values[n - 1] - values[n] < _GAP:
        n -= 1
    return n


def _columns(frames: list[NDArray]) -> NDArray:
    return np.hstack([f.reshape(len(f), f.shape[1] * f.shape[2]) for f in frames])


def _orthonormal(frames: list[NDArray]) -> tuple[list[NDArray], int]:
    """Nearest frames that are orthonormal together, and how many dimensions.

    Of directions that are there twice, as in a quaternionic irrep, each gets half.
    """
    columns = _columns(frames)
    if columns.size == 0:
        return frames, 0
    if np.linalg.norm(_gram_error(columns)) < _NEAR:
        columns, rank = polished(columns), min(columns.shape)
    else:
        columns, rank = _orthonormal_by_eigenvectors(columns)
    ends = np.cumsum([frame.shape[1] * frame.shape[2] for frame in frames])[:-1]
    parts = np.split(columns, ends, axis=1)
    return [p.reshape(f.shape) for p, f in zip(parts, frames, strict=True)], rank


def _orthonormal_by_eigenvectors(columns: NDArray) -> tuple[NDArray, int]:
    values, vectors = eigh(columns @ columns.T, driver="evd", overwrite_a=True)
    new = values > _DEPENDENT * values[-1]
    vectors = vectors[:, new]
    columns = vectors @ ((vectors.T @ columns) / np.sqrt(values[new])[:, np.newaxis])
    return polished(columns), int(new.sum())


def polished(columns: NDArray) -> NDArray:
    """Take small errors out of columns that are orthonormal but for those.

    Parameters
    ----------
    columns : ndarray of shape (n, m)
        Columns whose singular values are near to 1 (or to 0).

    Returns
    -------
    polished : ndarray of shape (n, m)
        After as many steps of Newton and Schulz as it takes; each squares the error.
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
