"""What has to hold between the fitted attributes of each estimator."""

from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator

from .._container import shown
from ..groups import ActivationTransformFitter
from ..probing import MeanDifferenceSelector
from ..sae import EquivariantSAE, GroupTiedSAE, TopKSAE
from ._fitted import Fitted

_LARGEST_POWER = 2**53  # beyond, a float has no last digit before the point


def check_parameters(estimator: BaseEstimator) -> None:
    """Check what constructor parameters scikit-learn's way does not.

    Parameters
    ----------
    estimator : estimator
        One of this package's.

    Raises
    ------
    ValueError
        If a parameter has the wrong type or value.
    """
    estimator._validate_params()
    device = getattr(estimator, "device", "auto")
    if device != "auto":
        try:
            torch.device(device)
        except RuntimeError:
            raise ValueError(f"device={device!r} is no device") from None
    if isinstance(estimator, ActivationTransformFitter):
        _check_power(estimator.power)


def _check_power(power: Any) -> None:
    try:
        powers = np.asarray(power, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            "power has to be a number, or one for each generator"
        ) from None
    if not (np.abs(powers) <= _LARGEST_POWER).all():
        raise ValueError(f"power has to be at most {_LARGEST_POWER}")


def check_names(estimator: BaseEstimator) -> None:
    """Check the names of features, where there are any.

    Parameters
    ----------
    estimator : estimator
        A fitted one.

    Raises
    ------
    ValueError
        If there is not one name for each feature.
    """
    names = vars(estimator).get("feature_names_in_")
    if names is None:
        return
    if not isinstance(names, np.ndarray) or names.dtype != object or names.ndim != 1:
        raise ValueError("feature_names_in_ has to be an array of strings")
    if len(names) != vars(estimator).get("n_features_in_"):
        raise ValueError(
            f"feature_names_in_ has {len(names)} names, not n_features_in_"
        )


def check_sae(sae: Any) -> Fitted:
    """Check an autoencoder.

    Parameters
    ----------
    sae : TopKSAE
        Or one of the others.

    Returns
    -------
    fitted : Fitted
        Its attributes; "n_latents" is a known size.

    Raises
    ------
    ValueError
        If anything cannot be what `fit` has found.
    """
    fitted = Fitted(sae)
    fitted.count("n_features_in_")
    _check_encoder(fitted)
    fitted.array("components_", "n_latents", "n_features_in_", dtype="float32")
    for name in ("mean_", "intercept_"):
        fitted.array(name, "n_features_in_")
    fitted.number("scale_", positive=True)
    fitted.curve()
    if sae.activation == "topk" and sae.k > fitted.sizes["n_latents"]:
        raise ValueError(f"k={sae.k} is more than the latents that there are")
    if "threshold_" in fitted.values:
        fitted.number("threshold_")
    elif sae.activation == "batch_topk":
        raise ValueError("activation='batch_topk' needs a threshold_: fit again")
    if "_memory" in fitted.values:
        _check_memory(fitted)
    return fitted


def _check_memory(fitted: Fitted) -> None:
    """What Adam and the search for dead latents remember, for partial_fit."""
    memory = fitted.value("_memory")
    counters = {f"counters.{name}" for name in ("idle", "dead", "rows_until_check")}
    if not isinstance(memory, dict) or not memory.keys() >= counters | {"target_mean"}:
        raise ValueError("_memory has to hold target_mean and the counters")
    fitted.check(memory["target_mean"], "_memory.target_mean", ("n_features_in_",))
    fitted.check(memory["counters.rows_until_check"], "_memory.rows", (1,))
    fitted.check(memory["counters.idle"], "_memory.idle", ("n_latents",), "float32")
    dead = memory["counters.dead"]
    fitted.check(dead, "_memory.dead", (np.size(dead),), "int64")
    if np.size(dead) and not 0 <= dead.min() <= dead.max() < fitted.sizes["n_latents"]:
        raise ValueError("_memory.dead numbers latents that do not exist")
    for name in memory.keys() - counters - {"target_mean"}:
        if not name.startswith("adam."):
            raise ValueError(f"_memory holds {shown(name)}, which nothing needs")
        shape = np.shape(memory[name])
        fitted.check(memory[name], f"_memory.{name}", shape, "float32")


def _check_encoder(fitted: Fitted) -> None:
    coefs, intercepts = fitted.value("coefs_"), fitted.value("intercepts_")
    if not all(isinstance(arrays, list) for arrays in (coefs, intercepts)):
        raise ValueError("coefs_ and intercepts_ have to be lists of arrays")
    if len(coefs) not in (1, 2) or len(coefs) != len(intercepts):
        raise ValueError("coefs_ and intercepts_ have to be of one layer or of two")
    widths = ["n_features_in_", *["n_hidden"] * (len(coefs) - 1), "n_latents"]
    for i, (coef, intercept) in enumerate(zip(coefs, intercepts, strict=True)):
        fitted.check(coef, f"coefs_.{i}", (widths[i], widths[i + 1]), "float32")
        fitted.check(intercept, f"intercepts_.{i}", (widths[i + 1],), "float32")


def check_equivariant(sae: EquivariantSAE) -> Fitted:
    """Check an autoencoder that has a group.

    Parameters
    ----------
    sae : EquivariantSAE
        Or a GroupTiedSAE.

    Returns
    -------
    fitted : Fitted
        Its attributes.

    Raises
    ------
    ValueError
        If anything cannot be what `fit` has found.
    """
    fitted = check_sae(sae)
    _check_transform(fitted, fitted.group())
    return fitted


def _check_transform(fitted: Fitted, group: Any) -> None:
    transform = fitted.estimator("activation_transform_", ActivationTransformFitter)
    if group is not None and transform.symmetry_ != group:
        raise ValueError(
            f"activation_transform_ is of {transform.symmetry_}, not {group}"
        )
    if transform.n_features_in_ != fitted.sizes["n_features_in_"]:
        raise ValueError("activation_transform_ has another number of features")


def check_group_tied(sae: GroupTiedSAE) -> None:
    """Check a GroupTiedSAE.

    Parameters
    ----------
    sae : GroupTiedSAE
        A fitted one.

    Raises
    ------
    ValueError
        If anything cannot be what `fit` has found.
    """
    fitted = check_equivariant(sae)
    tied = fitted.count("n_components_") * fitted.sizes["order_"]
    if tied + fitted.count("n_free_", 0) != fitted.sizes["n_latents"]:
        raise ValueError(
            f"components_ has to have a row for each of the {tied} copies of vectors "
            "and of the free vectors"
        )
    if fitted.sizes.get("n_hidden", 0) % fitted.sizes["order_"]:
        raise ValueError("coefs_ has to have a hidden unit for each copy of a vector")
    if "canonical_code_" in fitted.values:
        floats = "float64 float32"
        fitted.array("canonical_code_", "n_components_", "order_", dtype=floats)


def check_fitter(fitter: ActivationTransformFitter) -> None:
    """Check an ActivationTransformFitter.

    Parameters
    ----------
    fitter : ActivationTransformFitter
        A fitted one.

    Raises
    ------
    ValueError
        If anything cannot be what `fit` has found.
    """
    fitted = Fitted(fitter)
    n_features, group = fitted.count("n_features_in_"), fitted.group()
    matrices = (group.n_generators,) if group.n_generators > 1 else ()
    fitted.array("M_", *matrices, n_features, n_features)
    fitted.number("order_error_")
    if "rank_" in fitted.values:
        fitted.count("rank_", low=0)
    if "multiplicities_" in fitted.values:
        fitted.array("multiplicities_", "n_irreps", dtype="int64")
    if "n_iter_" in fitted.values or "loss_curve_" in fitted.values:
        fitted.curve()
    if "_sums" in fitted.values:
        _check_sums(fitted, group.n_generators)


def _check_sums(fitted: Fitted, n_generators: int) -> None:
    """Sums over orbits, with which partial_fit goes on."""
    sums = fitted.value("_sums")
    names = {"basis", "irreps", "pairs", "total", "n_rows", "n_orbits"}
    if not isinstance(sums, dict) or set(sums) - {"shift"} != names:
        raise ValueError(f"_sums has to hold {', '.join(sorted(names))}")
    n = "n_features_in_"
    if sums["basis"] is not None:
        fitted.check(sums["basis"], "_sums.basis", (n, n := "n_directions"))
    for name in ("total", "shift"):
        value = sums.get(name, 0.0)
        if not isinstance(value, float) or value != 0:
            fitted.check(value, f"_sums.{name}", (n,))
    if sums["pairs"] is not None:
        _check_pairs(fitted, sums, n, n_generators)
    for i, moments in enumerate(_of_length(sums["irreps"], None, "_sums.irreps")):
        _check_moments(fitted, moments, f"_sums.irreps.{i}", fitted.sizes.get(n))
    counts = [sums["n_rows"], sums["n_orbits"]]
    if not all(type(count) is int and count >= 0 for count in counts):
        raise ValueError("_sums has to count rows and orbits")


def _check_pairs(fitted: Fitted, sums: dict, n: str, n_generators: int) -> None:
    """Pairs of generators, or since there is a shift, of all elements but the first."""
    new = "shift" in sums
    of_all = new and sums["irreps"]
    n_elements = fitted.sizes["order_"] - 1 if of_all else n_generators
    pairs = _of_length(sums["pairs"], 5 if new else 3, "_sums.pairs")
    for matrices in pairs[:2]:
        fitted.check(matrices, "_sums.pairs", (n_elements, n, n))
    fitted.check(pairs[2], "_sums.pairs", (n_elements,), "int64")
    for totals in pairs[3:]:
        fitted.check(totals, "_sums.pairs", (n_elements, n))


def _check_moments(fitted: Fitted, moments: Any, name: str, width: int | None) -> None:
    if not isinstance(moments, dict) or set(moments) != {"rows", "gram", "n_orbits"}:
        raise ValueError(f"{name} has to hold rows, gram and n_orbits")
    if type(moments["n_orbits"]) is not int or moments["n_orbits"] < 0:
        raise ValueError(f"{name} has to count orbits")
    for part, height in (("rows", "number of rows"), ("gram", "width")):
        where = f"{name}.{part}"
        for array in _of_length(moments[part], None, where):
            fitted.check(array, where, (f"{name} {height}", f"{name} width"))
            if width and array.shape[1] % width:
                raise ValueError(f"{where} is no multiple of {width} wide")


def _of_length(values: Any, length: int | None, name: str) -> list:
    if not isinstance(values, list) or length not in (None, len(values)):
        raise ValueError(f"{name} has to be a list")
    return values


def check_canonicalizer(canonicalizer: Any) -> None:
    """Check a PoseCanonicalizer.

    Parameters
    ----------
    canonicalizer : PoseCanonicalizer
        A fitted one.

    Raises
    ------
    ValueError
        If anything cannot be what `fit` has found.
    """
    fitted = Fitted(canonicalizer)
    fitted.count("n_features_in_")
    _check_transform(fitted, None)
    order = canonicalizer.activation_transform_.symmetry_.order
    fitted.array("direction_", "n_features_in_")
    fitted.array("_readouts", order, "n_features_in_")
    fitted.number("spread_")


def check_selector(selector: MeanDifferenceSelector) -> None:
    """Check a MeanDifferenceSelector.

    Parameters
    ----------
    selector : MeanDifferenceSelector
        A fitted one.

    Raises
    ------
    ValueError
        If anything cannot be what `fit` has found.
    """
    fitted = Fitted(selector)
    fitted.count("n_features_in_")
    fitted.array("scores_", "n_features_in_")


def check_truncated(truncated: Any) -> None:
    """Check a TruncatedReconstruction.

    Parameters
    ----------
    truncated : TruncatedReconstruction
        A fitted one.

    Raises
    ------
    ValueError
        If anything cannot be what `fit` has found.
    """
    fitted = Fitted(truncated)
    sae = fitted.estimator("estimator_", TopKSAE, EquivariantSAE, GroupTiedSAE)
    selector = fitted.estimator("selector_", MeanDifferenceSelector)
    if sae.n_features_in_ != fitted.count("n_features_in_"):
        raise ValueError("estimator_ has another number of features")
    if selector.n_features_in_ != sae._n_features_out:
        raise ValueError("selector_ has not one score for each latent of estimator_")
    if not hasattr(sae, "inverse_transform"):
        raise ValueError("estimator_ has latents that it cannot decode")
