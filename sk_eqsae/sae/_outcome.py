"""Warnings of what a fit has come to."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold
from sklearn.tree import ExtraTreeClassifier

from .._rows import MOST_OF_ALL, TrainingRows, read_rows, shorter_rows
from .._warnings import warn

# rows on which latents count as dead: that each could be active so often, if equally
_CHANCES = 10
_LEAST = 1_024
_MANY = 0.9
_FAR = 100  # mean squares of the rows: no fit that starts well ends there
JUDGED_ORBITS = 256  # that are looked at
FEWEST_PAIRS = 30  # pairs that say whether more of them are told than by luck
_GUESSED = 0.6  # share of the pairs that is told: so few are told by luck, too
_MATTERS = 0.2  # of the variance of canonical rows, that is lost with them
_TREES = 50
_STEPS = 200  # after fewer, poses may be at chance because training has just begun
_DEVIATIONS = 3  # of the share that is guessed


def warn_of_outcome(sae: Any, rows: TrainingRows, k: int) -> None:
    """Warn of a fit that must fail, dead latents and far-off reconstructions."""
    must_fail = rows.targets is not None and warn_of_canonical_rows(sae, rows)
    n_chances = _CHANCES * sae.n_components_ // k
    inputs, target = sample(rows, max(_LEAST, n_chances))
    fires = sae._encode_csr(inputs).astype(bool).sum(axis=0) > 0
    recipe = sae._recipe()
    if (target == target[0]).all():  # the intercept is all there is to learn
        return
    warn_if_few_rows_are_all(sae, target)
    enough = len(inputs) >= n_chances and not must_fail
    warn_if_dead(fires, most_live=enough and recipe.aux_weight > 0)
    if len(sae.loss_curve_):
        if recipe.normalize:
            target = (target - target.mean(axis=0)) / sae.scale_
        warn_if_far_off(sae.loss_curve_[-1], target, normalized=recipe.normalize)


def sample(rows: TrainingRows, n_rows: int) -> tuple[NDArray, NDArray]:
    """Rows that go in, evenly spaced, and those that should come out."""
    chosen = np.linspace(0, len(rows) - 1, min(len(rows), n_rows)).astype(np.intp)
    inputs = read_rows(rows.X, chosen if rows.inputs is None else rows.inputs[chosen])
    if rows.targets is None:
        return inputs, inputs
    return inputs, read_rows(rows.X, rows.targets[chosen])


def warn_if_few_rows_are_all(sae: Any, rows: NDArray) -> None:
    """Warn if the longest hundredth of the rows holds most of the variance."""
    others, share = shorter_rows(rows)
    if share > MOST_OF_ALL:
        of_others = sae.score(rows[others])
        warn(
            f"The longest 1 % of the rows hold {share:.0%} of the variance, as "
            f"attention sinks do, so that score is about them: of the other rows "
            f"{of_others:.2f} of the variance is explained. Leave them out, or shorten "
            "them before fit, such as X * np.minimum(1, 3 * np.median(norms) / "
            "norms)[:, np.newaxis] with norms = np.linalg.norm(X, axis=1)."
        )


def warn_if_dead(fires: NDArray[np.bool_], *, most_live: bool) -> None:
    """Warn if no latent is active, or hardly any where most should be."""
    # Where dead ones were not revived, as by ``recipe="paper"``, it is normal that most
    # are dead.
    n_latents, n_dead = len(fires), int((~fires).sum())
    if n_dead == n_latents:
        warn(
            "All latents are dead: no training row has an active one, so transform "
            "gives zeros. Lower lr (the learning rate), or look at the scale of X; "
            "recipe='default' does not depend on it.",
            ConvergenceWarning,
        )
    elif most_live and n_dead > _MANY * n_latents:
        warn(
            f"{n_dead} of {n_latents} latents are dead: hardly any training row has "
            "them active. Raise max_epochs, lower lr (the learning rate), or lower "
            "n_components if the data have so few features.",
            ConvergenceWarning,
        )


def warn_if_far_off(loss: float, target: NDArray, *, normalized: bool) -> None:
    """Warn if the loss is more than a hundred times that of a reconstruction of zeros.

    `target` holds some of the rows that were to be rebuilt, in the units of the loss.
    """
    zeros = float(np.square(target, dtype=np.float64).sum(axis=1).mean())
    if loss > _FAR * zeros > 0:
        advice = (
            "Raise max_epochs, or lower lr (the learning rate), k or n_components."
            if normalized
            else "Bring X to a scale of about 1, or use recipe='default', which does "
            "so by itself, or lower lr."
        )
        warn(
            f"Reconstructions are far from the rows: the loss is {loss / zeros:.0e} "
            f"times that of zeros. {advice}",
            ConvergenceWarning,
        )


def warn_of_canonical_rows(sae: Any, rows: TrainingRows) -> bool:
    """Warn if the fit of an EquivariantSAE must fail; say if it must."""
    pairs = _pairs(rows)
    if rows.poses_are_alike or len(pairs) < FEWEST_PAIRS:
        return False
    both = read_rows(rows.X, pairs.ravel()).astype(np.float64)
    both /= np.abs(both).max() or 1.0  # keeps squares finite
    canonical, moved = both[::2], both[1::2]
    # Whoever cannot tell which row of its orbit c is can at best give the mean of the
    # orbit: E|c - mean|^2 = (1 - 1/|G|) E|c - x|^2 / 2 for another row x.
    variance = np.square(canonical - canonical.mean(axis=0)).sum()
    lost = (1 - 1 / sae.order_) / 2 * np.square(canonical - moved).sum()
    lost = lost / variance if variance else 0.0
    told = _share_told(both) if lost > _MATTERS else 1.0
    if told < _GUESSED:
        warn(
            "The canonical rows cannot be recognised: of two rows of an orbit, a "
            f"classifier picks the canonical one in {told:.0%} of {len(pairs)} pairs "
            "that it has not seen, where guessing gives 50%. So no encoder can do "
            f"better on other inputs than the mean of the orbit, which leaves "
            f"{lost:.0%} of the variance, however long it is trained. Choose canonical "
            "inputs by what can be seen in them, such as upright images, or use "
            "GroupTiedSAE, which needs none."
        )
        return True
    _warn_if_at_chance(sae, rows)
    return False


def _pairs(rows: Any) -> NDArray:
    """Rows of X (n_pairs, 2): the canonical one and any other of some orbits."""
    rng = np.random.default_rng(0)
    first = np.flatnonzero(rows.elements == 0)
    n_others = np.diff(first, append=len(rows)) - 1
    first, n_others = first[n_others > 0], n_others[n_others > 0]
    other = first + rng.integers(1, n_others + 1)
    chosen = np.sort(rng.permutation(len(first))[:JUDGED_ORBITS])
    return rows.inputs[np.column_stack([first, other])[chosen]]


def _share_told(both: NDArray) -> float:
    """Share of the pairs (2 * n_pairs, n) of which a classifier picks the canonical."""
    # Pairs come in the order of orbits, so that halves do not cut between sites.
    # Trees one by one, since scikit-learn's forests change the filters of warnings,
    # which all threads share.
    is_canonical = np.tile([1, 0], len(both) // 2)
    seen = np.zeros(len(both))
    for train, test in KFold(2).split(both):
        for seed in range(_TREES):
            tree = ExtraTreeClassifier(random_state=seed)
            tree.fit(both[train], is_canonical[train])
            seen[test] += tree.predict_proba(both[test])[:, 1]
    apart = np.sign(seen[::2] - seen[1::2])
    return float(1 + apart.mean()) / 2


def _warn_if_at_chance(sae: Any, rows: Any) -> None:
    """Warn if a fit that has had its time predicts powers no better than by luck."""
    batch_size = sae._schedule()["batch_size"]
    if sae.n_iter_ * len(rows) < _STEPS * batch_size:
        return
    rng = np.random.default_rng(0)
    chosen = np.sort(rng.permutation(len(rows))[: 2 * JUDGED_ORBITS])
    power = sae.predict_power(read_rows(rows.X, rows.inputs[chosen]))
    seen = rows.elements[chosen]
    found = sae.symmetry_.elements_of(power)
    if is_by_luck(found, seen):
        warn(
            "predict_power is at chance: it finds the powers of "
            f"{(found == seen).mean():.0%} of the training rows, where guessing finds "
            f"{_chance(seen):.0%}. Look at how much M explains "
            "(activation_transform_.score); if that is well, raise max_epochs or "
            "hidden_dim, or lower lr (the learning rate)."
        )


def is_by_luck(found: NDArray, seen: NDArray) -> bool:
    """Whether elements are found no more often than the most frequent one is there."""
    chance = _chance(seen)
    spread = np.sqrt(chance * (1 - chance) / len(seen))
    return bool((found == seen).mean() <= chance + _DEVIATIONS * spread)


def _chance(seen: NDArray) -> float:
    return float(np.bincount(seen).max() / len(seen))
