"""Real powers of M, between the whole ones."""

import numpy as np
from numpy.typing import NDArray

from .._warnings import warn

_FAST = 0.05  # of what moves: so much at half the order, and there is more above
_SAMPLE = 256  # rows whose frequencies are looked at
_ENTRIES = 2**22  # of their moved copies: 32 MiB in float64


def power_weights(power: NDArray, order: int) -> NDArray:
    """Weights (n_rows, order) of the whole powers that make real powers of M."""
    # If M^n = I, M = expm(A) with the frequencies of A between -n/2 and n/2, and
    # trigonometric interpolation gives all of the one-parameter family:
    #
    #     M^t = expm(t A) = sum over p of c(t - p) M^p
    #     c(s) = mean over k = -n/2, ..., n/2 - 1 of cos(2 pi k s / n)
    #
    # For even n, the directions that M turns round (frequency n/2) have no real square
    # root of their own; they are scaled by cos(pi t) between the integers.
    frequencies = 2 * np.pi / order * np.fft.fftfreq(order, 1 / order)
    of_power, of_whole = (np.outer(p, frequencies) for p in (power, np.arange(order)))
    # cos(a - b) = cos a cos b + sin a sin b keeps this to two matrices
    weights = np.cos(of_power) @ np.cos(of_whole).T
    weights += np.sin(of_power) @ np.sin(of_whole).T
    return weights / order


def frequency_sample(X: NDArray, order: int) -> NDArray:
    """Take some rows, of which all whole powers fit into memory."""
    n_rows = max(1, min(_SAMPLE, _ENTRIES // (order * max(1, X.shape[1]))))
    return X[:: -(-len(X) // n_rows)]


def warn_if_ambiguous(cycle: NDArray) -> None:
    """Warn if rows moved by all powers (order, n_rows, n) change too fast."""
    # Frequency k cannot be told from order - k at whole powers. Where the spectrum has
    # not faded at half the order it goes on above it, and M^t turns that part wrongly.
    # M of every second power, asked for those between, would judge half the resolution:
    # it fails at a quarter of the order, where M^t still holds.
    order = len(cycle)
    energy = np.square(np.abs(np.fft.rfft(cycle, axis=0))).sum(axis=(1, 2))
    energy[1 : (order + 1) // 2] *= 2  # of k and -k
    moving = energy[1:].sum()
    if energy[-1] > _FAST * moving > 0:
        warn(
            "Powers of M that are not whole are a guess here: "
            f"{energy[-1] / moving:.0%} of what the generator moves has angular "
            f"frequency {order // 2}, the highest that steps of 1/{order} turn can "
            "tell, so that some has a higher one, which M^t turns the wrong way. Fit M "
            "on smaller steps (a larger order), or use whole powers; score, with rows "
            "of inputs moved by such powers, tells how good they are."
        )
