"""What has to hold between attributes, beside the shapes that are declared."""

from typing import Any

import numpy as np

from .._estimator import ADAM_PARTS, unfrozen
from ..groups import ActivationTransformFitter, PoseCanonicalizer
from ..probing import TruncatedReconstruction
from ..sae import EquivariantSAE, GroupTiedSAE, OrbitSAE, TopKSAE

_SECOND_LAYER = {f"optimizer.{i}.{part}" for i in (4, 5) for part in ADAM_PARTS}
_BASIS = {f"basis.{part}" for part in ("to_irreps", "from_irreps", "multiplicities")}
_LARGEST_POWER = 2**53  # beyond, a float has no last digit before the point


def check_power(estimator: Any) -> None:
    """Check a parameter `power`, which scikit-learn only knows to be an array."""
    try:
        powers = np.asarray(getattr(estimator, "power", 1), dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError("power has to be a number, or one of each generator") from None
    if not (np.abs(powers) <= _LARGEST_POWER).all():
        raise ValueError(f"power has to be at most {_LARGEST_POWER}")


def check_relations(estimator: Any, sizes: dict[str, int]) -> None:
    """Check a fitted estimator, whose attributes have the sizes that are declared."""
    for check in _CHECKS.get(type(estimator), ()):
        check(estimator, sizes)


def _check_sae(sae: Any, sizes: dict[str, int]) -> None:
    n_layers, n_latents = len(sae.coefs_), sizes["n_components"]
    if n_layers != len(sae.intercepts_):
        raise ValueError("coefs_ and intercepts_ have to be of as many layers")
    if n_layers == 1 and sizes["n_units"] != n_latents:
        raise ValueError("coefs_ has to have a column for each latent")
    if sae.scale_ == 0:
        raise ValueError("scale_ has to be positive")
    if sae.activation == "topk" and (sae.k or 1) > n_latents:
        raise ValueError(f"k={sae.k} is more than the latents that there are")
    if sae.activation == "batch_topk" and not hasattr(sae, "threshold_"):
        raise ValueError("activation='batch_topk' needs a threshold_: fit again")
    if hasattr(sae, "_memory"):
        _check_memory(sae, sizes)


def _check_memory(sae: Any, sizes: dict[str, int]) -> None:
    """What partial_fit goes on with has to be of the network that it will build."""
    is_tied = isinstance(sae, GroupTiedSAE)
    order, n_layers = sae.order_ if is_tied else 1, len(sae.coefs_)
    n_vectors = sae.n_orbits_ + sae.n_free_ if is_tied else sizes["n_components"]
    n_first = n_vectors if n_layers == 1 else sizes["n_units"] // order
    n_state = 2 if isinstance(sae, OrbitSAE) and sae.order_ > 1 else 1
    found, expected = set(sae._memory), (n_vectors, n_first, n_state)
    fits = (
        (sizes["n_vectors"], sizes["n_first"], sizes["n_state"]) == expected
        and found.isdisjoint(_SECOND_LAYER) == (n_layers == 1)
        and (n_layers == 1 or found >= _SECOND_LAYER)
        and (not is_tied or found.isdisjoint(_BASIS) == (order == 1))
        and (order == 1 or found >= _BASIS)
    )
    if not fits:
        raise ValueError("_memory is of a network with other weights")


def _check_symmetry(sae: Any, sizes: dict[str, int]) -> None:
    found = unfrozen(sae.activation_transform_).symmetry_
    if found != sae.symmetry_:
        raise ValueError(f"activation_transform_ is of {found}, not {sae.symmetry_}")


def _check_copies(sae: Any, sizes: dict[str, int]) -> None:
    if len(sae.coefs_) > 1 and sizes["n_units"] % sae.order_:
        raise ValueError("coefs_ has to have a hidden unit for each copy of a vector")


def _check_latent_orbits(sae: Any, sizes: dict[str, int]) -> None:
    lengths, kinds = sae._orbit_lengths, sae._orbit_kinds
    if not any(lengths.strides):  # the zeros of read_header, which reads no array
        return
    if (lengths < 1).any() or (kinds < 0).any() or (sae.order_ % lengths).any():
        raise ValueError("latent orbits have to be as long as the group makes them")
    n_tied = int(lengths.sum())
    if n_tied + sae.n_free_ != sizes["n_components"]:
        raise ValueError(
            "components_ has to have a row for each latent of the orbits and for the "
            "free vectors"
        )
    if sizes.get("n_tied", n_tied) != n_tied:
        raise ValueError("canonical_code_ has to have a number for each tied latent")


def _check_fitter(fitter: Any, sizes: dict[str, int]) -> None:
    n_generators = fitter.symmetry_.n_generators
    M, small, basis = map(vars(fitter).get, ("M_", "_small", "_basis"))
    if (M is None) != (basis is not None) or (small is None) != (basis is None):
        raise ValueError("it has to have either M_ or the factors _small and _basis")
    n_matrices = len(small) if M is None else int(np.prod(M.shape[:-2]))
    expected = (n_generators,) if n_generators > 1 else ()
    if n_matrices != n_generators or (M is not None and M.shape[:-2] != expected):
        raise ValueError(f"M_ has to hold {n_generators} matrices, one per generator")
    if hasattr(fitter, "n_iter_") != hasattr(fitter, "loss_curve_"):
        raise ValueError("it has no loss_curve_ to its n_iter_, or the other way round")
    sums = getattr(fitter, "_sums", None)
    if sums is None:
        return
    n_directions = sizes.get("n_directions", sizes["n_features"])
    if M is not None and sums["basis"] is None and n_directions != sizes["n_features"]:
        raise ValueError("_sums has another number of features")
    n_moves = fitter.order_ - 1 if sums["irreps"] else n_generators
    if sizes.get("n_moves", n_moves) != n_moves:
        raise ValueError("_sums has pairs of another number of elements")


def _check_canonicalizer(canonicalizer: Any, sizes: dict[str, int]) -> None:
    order = unfrozen(canonicalizer.activation_transform_).order_
    if sizes["order"] != order:
        raise ValueError(f"_readouts has to have a row for each of {order} elements")


def _check_truncated(truncated: Any, sizes: dict[str, int]) -> None:
    sae = unfrozen(truncated.estimator_)
    if sizes["n_latents"] != sae._n_features_out:
        raise ValueError("selector_ has not one score for each latent of estimator_")
    if not hasattr(sae, "inverse_transform"):
        raise ValueError("estimator_ has latents that it cannot decode")


_CHECKS = {
    TopKSAE: (_check_sae,),
    EquivariantSAE: (_check_sae, _check_symmetry),
    GroupTiedSAE: (_check_sae, _check_symmetry, _check_latent_orbits, _check_copies),
    OrbitSAE: (_check_sae, _check_latent_orbits),
    ActivationTransformFitter: (_check_fitter,),
    PoseCanonicalizer: (_check_canonicalizer,),
    TruncatedReconstruction: (_check_truncated,),
}
