"""Powers between the integers: M^t for real t."""

import numpy as np
from numpy.typing import NDArray


def power_weights(power: NDArray, order: int) -> NDArray:
    """Write real powers of a matrix of finite order as sums of its integer powers.

    If M^n = I, M = expm(A) with the frequencies of A between -n/2 and n/2, and
    trigonometric interpolation gives all of the one-parameter family::

        M^t = expm(t A) = sum over p of c(t - p) M^p
        c(s) = mean over k = -n/2, ..., n/2 - 1 of cos(2 pi k s / n)

    Parameters
    ----------
    power : ndarray of shape (n_rows,)
        Powers t, taken modulo the order.
    order : int
        Order n of the matrix.

    Returns
    -------
    weights : ndarray of shape (n_rows, order)
        Weight of M^0, ..., M^(n-1); exactly one 1 and else 0 for whole powers.

    Notes
    -----
    For even n, the directions that M turns round (frequency n/2) have no real
    square root of their own; they are scaled by cos(pi t) between the integers.
    """
    whole = np.rint(power) == power
    steps = power[:, np.newaxis] - np.arange(order)
    frequencies = np.fft.fftfreq(order, 1 / order)
    weights = np.cos(2 * np.pi / order * steps[..., np.newaxis] * frequencies).mean(-1)
    weights[whole] = np.eye(order)[power[whole].astype(np.int64) % order]
    return weights
