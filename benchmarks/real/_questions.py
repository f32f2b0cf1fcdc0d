"""What is asked of latents: which class, and how the edge at a site runs."""

import cv2
import numpy as np
from scipy.sparse import csr_array
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_eqsae import MeanDifferenceSelector

N_KEPT = (1, 2, 4, 8)  # latents that a probe sees
N_DIRECTIONS = 4  # of edges: 0, 45, 90, 135 degrees
LEAST_SHARE = 0.02  # of rows on both sides, for a class to be asked for
COHERENT = 0.5  # from 0, no direction, to 1, a straight edge


def scores(question, train, test):
    """Mean area under the curve over classes, by how many latents a probe sees."""
    classes = [
        c
        for c in np.unique(train[1])
        if min(np.mean(y == c) for _, y in (train, test)) >= LEAST_SHARE
    ]
    areas = np.mean([[*_areas(c, train, test)] for c in classes], axis=0)
    names = [f"{question}_{n}" for n in N_KEPT]
    return {f"n_{question}": len(classes), **dict(zip(names, areas, strict=True))}


def _areas(which, train, test):
    """By number of latents, of those whose means differ most, in and out of a class."""
    (Z, y), (Z_test, y_test) = train, test
    first = np.argsort(-MeanDifferenceSelector(1).fit(Z, y == which).scores_)
    for n in N_KEPT:
        probe = make_pipeline(StandardScaler(), LogisticRegression())
        probe.fit(Z[:, first[:n]], y == which)
        found = probe.decision_function(Z_test[:, first[:n]])
        yield roc_auc_score(y_test == which, found)


def of_inputs(codes, orbits, labels):
    """Mean codes of each moved input over its sites, and its label."""
    moved = orbits.inputs * orbits.order + orbits.power
    numbers, place, counts = np.unique(moved, return_inverse=True, return_counts=True)
    sums = csr_array((np.ones(len(place)), (place, np.arange(len(place))))) @ codes
    return sums / counts[:, None], labels[numbers // orbits.order]


def edges(orbits, images, action):
    """Direction of the edge at each row's site in its moved input, -1 without one."""
    found = np.full(len(orbits), -1)
    for power in range(orbits.order):
        moved = action(images, power)
        rows = np.flatnonzero(orbits.power == power)
        inputs, first = np.unique(orbits.inputs[rows], return_inverse=True)
        for i, number in enumerate(inputs):
            here = rows[first == i]
            directions = edge_directions(moved[number], orbits.grid)
            found[here] = directions.ravel()[orbits.position[here]]
    return found


def edge_directions(image: np.ndarray, grid: tuple[int, ...]) -> np.ndarray:
    """Direction of the gradient around each site, in steps of 45 degrees, or -1.

    Steps go from the horizontal clockwise, modulo 180 degrees.
    """
    grey = image.mean(axis=0).astype(np.float32)
    across, down = (cv2.Sobel(grey, cv2.CV_32F, *way) for way in ((1, 0), (0, 1)))
    width = 2 * round(grey.shape[0] / grid[0]) + 1

    def around(products):
        blurred = cv2.blur(products, (width, width))
        places = [((np.arange(n) + 0.5) * grey.shape[0] / n).astype(int) for n in grid]
        return blurred[np.ix_(*places)]

    aa, dd, ad = around(across**2), around(down**2), around(across * down)
    strength, straight = aa + dd, np.hypot(aa - dd, 2 * ad)
    step = np.pi / N_DIRECTIONS
    direction = np.round(np.arctan2(2 * ad, aa - dd) / 2 / step).astype(int)
    is_edge = (straight > COHERENT * strength) & (strength > np.median(strength))
    return np.where(is_edge, direction % N_DIRECTIONS, -1)
