"""What is missing outside of X is refused or marked, wherever it is handed over."""

import numpy as np
import pandas as pd
import pytest
import torch

from sk_eqsae import explore, splice
from sk_eqsae.activations import Orbits
from sk_eqsae.inspection import (
    FeatureOrbitDisplay,
    FrontierDisplay,
    LossCurveDisplay,
    ProbingDisplay,
    TransformFidelityDisplay,
    dead_latents,
    fvu,
    r2_per_feature,
)

from .explorer.turning import fitted, turning_orbits

MISSING = [None, np.nan, pd.NA, pd.NaT]
every_kind = pytest.mark.parametrize("missing", MISSING, ids=str)


def spoiled(values, missing, row=3):
    values = np.array(values, dtype=object)
    values[row] = missing
    return values


def masked(values, row=3):
    values = np.ma.array(values)
    values[row] = np.ma.masked
    return values


@pytest.fixture(scope="module")
def turning():
    _, orbits = turning_orbits()
    return orbits, *fitted("topk", orbits)


@every_kind
@pytest.mark.parametrize("of", ["groups", "power"])
def test_orbits_of_missing_values_are_refused(turning, of, missing):
    orbits, _, fitter = turning
    given = {**orbits.metadata, of: spoiled(orbits.metadata[of], missing)}
    with pytest.raises(ValueError, match=f"{of} has missing values .* in rows 3"):
        r2_per_feature(fitter, orbits.X, **given)


@pytest.mark.parametrize("of", ["X", "groups", "power"])
def test_masked_entries_are_missing(turning, of):
    orbits, _, fitter = turning
    given = {"X": orbits.X, **orbits.metadata}
    given[of] = masked(given[of])
    with pytest.raises(ValueError, match="has missing values"):
        r2_per_feature(fitter, **given)
    with pytest.raises(ValueError, match="has missing values"):
        Orbits(**given)


def test_masked_rows_reach_no_measure(turning):
    orbits, sae, _ = turning
    X = masked(orbits.X)
    calls = [
        lambda: fvu(X, orbits.X),
        lambda: fvu(orbits.X, X),
        lambda: dead_latents(X),
        lambda: FrontierDisplay.from_estimator([sae], X),
        lambda: LossCurveDisplay.from_estimator(sae, X),
        lambda: explore(sae, X),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="has missing values"):
            call()


@every_kind
def test_names_of_lines_are_not_missing(plt, missing):
    names = spoiled(["a"] * 5, missing)
    table = pd.DataFrame({"name": names, "l0": 1.0, "fvu": 0.5, "epoch": 1, "loss": 1})
    for display in (FrontierDisplay(table), LossCurveDisplay(table)):
        with pytest.raises(ValueError, match=r"column 'name' .* missing in 1 row\(s\)"):
            display.plot()
    report = pd.DataFrame({"map": "M", "power": names, "r2": 1, "low": 1, "high": 1})
    with pytest.raises(ValueError, match=r"column 'power' of report is missing in 1"):
        TransformFidelityDisplay(report).plot()
    bars = pd.DataFrame({"group": "a", "source": names, "f1": 0.5, "sem": 0.1})
    with pytest.raises(ValueError, match=r"column 'source' of summary is missing in 1"):
        ProbingDisplay(bars).plot()
    assert plt.get_fignums() == []


@every_kind
@pytest.mark.parametrize("column", ["kind", "task", "f1"])
def test_scores_of_missing_tasks_are_not_averaged(plt, missing, column):
    scores = pd.DataFrame({"kind": "a", "task": range(5), "f1": 0.5})
    scores[column] = spoiled(scores[column], missing)
    with pytest.raises(ValueError, match=f"'{column}' of scores is missing"):
        ProbingDisplay.from_scores(scores)


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA], ids=str)
def test_values_that_are_missing_are_gaps(plt, missing):
    values = spoiled([0.1, 0.2, 0.3, 0.4, 0.5], missing)
    l0 = range(1, 6)
    table = pd.DataFrame({"name": "a", "l0": l0, "epoch": l0})
    table["fvu"] = table["loss"] = values
    for display in (FrontierDisplay(table), LossCurveDisplay(table)):
        (line,) = display.plot().ax_.lines
        expected = [0.1, 0.2, 0.3, np.nan, 0.5]
        np.testing.assert_array_equal(line.get_ydata(), expected)
        display.figure_.draw_without_rendering()
    report = pd.DataFrame({"map": "M", "power": range(5), "low": 0, "high": 1})
    figure = TransformFidelityDisplay(report.assign(r2=values)).plot().figure_
    figure.draw_without_rendering()
    bars = pd.DataFrame({"group": list("abcde"), "source": "s", "f1": 1, "sem": values})
    ProbingDisplay(bars).plot().figure_.draw_without_rendering()


def test_a_decoder_that_makes_no_numbers_is_named(plt):
    _, orbits = turning_orbits()
    sae, _ = fitted("tied", orbits)
    images = orbits.X.reshape(-1, 3, 4)
    with pytest.raises(ValueError, match="what decode returns contains NaN"):
        FeatureOrbitDisplay.from_estimator(
            sae,
            orbits.X,
            images,
            decode=lambda rows: np.nan * rows.reshape(-1, 3, 4),
        )


def test_a_list_of_texts_with_nan_has_a_gap(turning, tmp_path):
    orbits, sae, _ = turning
    labels = ["a", "b"] * (len(orbits) // 2)
    labels[3] = np.nan  # as an array the text "nan"
    with pytest.raises(ValueError, match=r"no class for 1 row\(s\), such as 3"):
        explore(sae, orbits, labels=labels, path=tmp_path / "page.html")


def test_a_masked_label_is_named(turning, tmp_path):
    orbits, sae, _ = turning
    labels = masked(orbits.power)
    with pytest.raises(
        ValueError, match=r"labels has no class for 1 row\(s\), such as 3"
    ):
        explore(sae, orbits, labels=labels, path=tmp_path / "page.html")


def test_latents_and_powers_that_are_masked_are_refused(turning):
    orbits, sae, fitter = turning
    tied, _ = fitted("tied", orbits)
    equivariant, _ = fitted("equivariant", orbits)
    power = masked(orbits.power)
    for call in (
        lambda: fitter.act(orbits.X, power),
        lambda: tied.latent_orbits_.permute(tied.transform(orbits.X), power),
        lambda: equivariant.reconstruct(orbits.X, power=power),
        lambda: equivariant.inverse_transform(
            equivariant.transform(orbits.X), power=power
        ),
    ):
        with pytest.raises(ValueError, match=r"power has missing values .* in rows 3"):
            call()
    model = torch.nn.Sequential(torch.nn.Identity())
    given = {"ablate": masked([1, 2, 3, 4])}, {"power": masked([0, 1, 2, 3])}
    for kind, arguments in zip((sae, equivariant), given, strict=True):
        with pytest.raises(ValueError, match="has missing values"):
            splice(model, "0", kind, **arguments).__enter__()
