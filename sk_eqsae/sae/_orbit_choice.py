"""How many latent orbits of each length a tied dictionary has, and free latents."""

import math
import warnings
from itertools import pairwise
from typing import Any, NamedTuple, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, clone

from .._rows import read_rows
from ..groups import FiniteGroup
from ..groups._element_matrices import matrices_of, moved_by_all, r2_of_sample
from ..groups._group import coset_representatives
from ..groups._orbit_table import are_held_out
from ._base import BaseSAE, room_for
from ._latent_orbits import LatentOrbits, counts_of, lengths_of
from ._topk import TopKSAE

_ALIKE = 0.5  # cosine of codes that should be equal
_SHARE = 0.2  # of the steps, in which a regular dictionary is trained
_ROWS = 2**14  # that are coded, moved ones counted, and at least so many orbits of them
_ORBITS = 64
_HELD_OUT = 0.25  # share of the inputs whose orbits judge M
# n_free="auto": a share of the latents where M's error is so many times a regular FVU
_FREE_SHARE = 1 / 8
_MUCH_LEFT = 3.0


def choose_orbits(
    sae: Any, X: Any, table: NDArray, seed: int, metadata: dict[str, Any]
) -> tuple[LatentOrbits, bool]:
    """Latent orbits of a GroupTiedSAE, and whether the search was not interrupted."""
    n_latents, group = sae._n_latents(X.shape[1]), sae.symmetry_
    M = sae.activation_transform_
    prefixes = sae._prefixes(n_latents)
    with room_for(n_latents, X.shape[1]):
        torch.empty(n_latents, X.shape[1])  # what is too large is said at once
    if sae.random_state is None:
        seed = 0  # so that a fit that was killed comes to the same lengths
    lengths, counts = lengths_of(group), None
    if isinstance(sae.orbit_lengths, dict):
        counts = counts_of(group, sae.orbit_lengths)
        possible = counts > 0
    else:
        possible = kinds_with_vectors(M)
    left, short = _left_by_m(sae, X, table, seed, metadata), None
    if left is not None or (counts is None and possible.sum() > 1):
        short = _short_regular(sae, X, seed)
    n_free = _n_free_beside(sae, lengths[possible], n_latents, left, short)
    if counts is not None and sae.n_free == "auto":
        n_free = max(0, n_latents - int(counts @ lengths))
    if counts is None:
        shares = shares_of_kinds(short, M, possible) if short else possible * 1.0
        counts = filled(shares, possible, lengths, max(0, n_latents - n_free))
    if not counts.any() or counts @ lengths != n_latents - n_free:
        _raise_sizes(sae, n_latents, n_free, lengths[possible])
    kinds = arranged(counts, lengths, prefixes)
    return LatentOrbits(group, kinds, n_free), short is None or short.is_done


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


def _short_regular(sae: Any, X: Any, seed: int) -> ShortRegular:
    """Train a regular autoencoder of the settings of another one."""
    regular = _regular_for(sae, seed)
    n_batches = -(-len(X) // regular._schedule()["batch_size"])
    n_steps = regular._n_steps(len(X))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is not done, and nobody will use it
        regular.fit(X)
    is_done = regular.n_iter_ * n_batches >= n_steps
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


def _regular_for(sae: Any, seed: int) -> BaseSAE:
    given = sae.get_params(deep=False)
    names = TopKSAE().get_params().keys() - {"nested", "warm_start"}
    settings = {name: given[name] for name in names}
    settings |= {"hidden_dim": None, "random_state": seed}
    schedule = sae._schedule()
    for name in ("max_epochs", "max_steps"):
        if schedule[name] is not None:
            settings[name] = math.ceil(_SHARE * schedule[name])
    return clone(TopKSAE(**settings))


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
    # not by transform, which may be told to make frames
    return sae._encode_csr(X.astype(np.float32)).astype(np.float64)


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


def _left_by_m(
    sae: Any, X: Any, table: NDArray, seed: int, metadata: dict[str, Any]
) -> float | None:
    """1 - R2 of M, fitted on other inputs, on held-out orbits; None if not asked."""
    is_asked = sae.n_free == "auto" and sae.orbit_lengths == "auto"
    if not is_asked or sae.order_ == 1:
        return None
    if "groups" not in metadata:
        raise ValueError(
            "n_free='auto' has to see how well M explains orbits, and a fitted M "
            "without orbits does not tell. Give fit groups and power, with M in a "
            "sklearn.frozen.FrozenEstimator to keep it, or set n_free to a number."
        )
    held_out = are_held_out(table, metadata["groups"], _HELD_OUT, seed)
    if held_out.all():
        raise ValueError(
            "n_free='auto' judges M on inputs that it is not fitted on, so it needs "
            "two or more, found 1. Give more inputs or set n_free to a number."
        )
    rows = np.sort(table[~held_out][table[~held_out] >= 0])
    parts = {name: np.asarray(values)[rows] for name, values in metadata.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the fit on all orbits gives them
        judged = sae._new_fitter(sae.symmetry_, seed).fit(X[rows], None, **parts)
    return 1 - r2_of_sample(matrices_of(judged), X, table[held_out])[0]


def _n_free_beside(
    sae: Any,
    lengths: NDArray,
    n_latents: int,
    left: float | None,
    short: ShortRegular | None,
) -> int:
    """How many latents are free beside orbits of these lengths."""
    if sae.n_free != "auto":
        return int(sae.n_free)
    if left is None or short is None:
        return 0
    fvu = 1 - short.sae.score(short.rows)
    n_free = round(_FREE_SHARE * n_latents) if left > _MUCH_LEFT * fvu else 0
    # as many as leave what whole orbits fill
    sizes = np.flatnonzero(reachable_sizes(lengths, n_latents - n_free))
    return n_latents - int(sizes[-1])


def arranged(counts: NDArray, lengths: NDArray, prefixes: NDArray) -> NDArray:
    """Kinds of orbits, the longest first, none of which a prefix cuts."""
    # Each part between two prefixes gets its share of all kinds.
    counts, order, kinds = counts.copy(), np.argsort(-lengths, kind="stable"), []
    n_tied = int(counts @ lengths)
    for start, stop in pairwise([0, *prefixes[prefixes < n_tied], n_tied]):
        taken = counts * (stop - start) // max(1, n_tied - start)
        room = stop - start - taken @ lengths
        for kind in order:
            more = min(counts[kind] - taken[kind], room // lengths[kind])
            taken[kind] += more
            room -= more * lengths[kind]
        if room:
            whole = stop - room + lengths[(counts > taken) & (lengths > room)].min()
            raise ValueError(
                f"nested cuts a latent orbit at {stop}: take a size that whole orbits "
                f"fill, such as {whole}."
            )
        counts -= taken
        kinds.append(np.repeat(order, taken[order]))
    return np.concatenate(kinds)


def filled(
    shares: NDArray, possible: NDArray, lengths: NDArray, n_latents: int
) -> NDArray:
    """Numbers of orbits that fill so many latents, nearly in shares; or none at all."""
    counts = np.zeros(len(lengths), dtype=np.int64)
    reachable = reachable_sizes(lengths[possible], n_latents)
    if not reachable[n_latents]:
        return counts
    longest = np.flatnonzero(possible)[np.argsort(-lengths[possible], kind="stable")]
    left = n_latents
    for kind in longest:  # rounded, so that a small share does not break a long orbit
        wanted = round(shares[kind] * n_latents / lengths[kind])
        while counts[kind] < wanted and _fits(reachable, left - lengths[kind]):
            counts[kind] += 1
            left -= lengths[kind]
    for kind in longest:
        while _fits(reachable, left - lengths[kind]):
            counts[kind] += 1
            left -= lengths[kind]
    return counts


def _fits(reachable: NDArray, left: int) -> bool:
    """Whether what is left can be filled."""
    return left >= 0 and bool(reachable[left])


def reachable_sizes(lengths: NDArray, most: int) -> NDArray:
    """Whether orbits of these lengths can fill each number of latents up to `most`."""
    reachable = np.arange(most + 1) == 0
    for length in lengths:
        for size in range(length, most + 1):
            reachable[size] |= reachable[size - length]
    return reachable


def _raise_sizes(sae: Any, n_latents: int, n_free: int, lengths: NDArray) -> NoReturn:
    if isinstance(sae.orbit_lengths, dict):
        raise ValueError(
            f"n_components={n_latents} latents, {n_free} of them free, are not "
            f"those of orbit_lengths={sae.orbit_lengths!r}. Leave n_components "
            "out, or give at least one orbit."
        )
    sizes = n_free + np.flatnonzero(
        reachable_sizes(lengths, max(0, n_latents - n_free) + 2 * sae.order_)
    )
    sizes = sizes[sizes > n_free]
    above = np.searchsorted(sizes, n_latents, side="right")
    nearest = sizes[max(0, above - 1) :][:2]
    raise ValueError(
        f"n_components={n_latents} latents, {n_free} of them free, do not fill "
        f"latent orbits of {' and '.join(map(str, sorted(set(lengths))))}. The "
        f"nearest sizes that do are {' and '.join(map(str, nearest))}."
    )
