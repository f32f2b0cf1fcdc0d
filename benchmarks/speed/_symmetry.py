"""Time the closed form of M: a large file, and against gradient descent."""

import json
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

from benchmarks.paper import CNNAutoencoder, MLPAutoencoder, fit_autoencoder
from sk_eqsae import (
    ActivationTransformFitter,
    EquivariantSAE,
    extract_orbits,
    make_shapes,
)
from sk_eqsae.groups import (
    CyclicGroup,
    DihedralGroup,
    ImageRotation,
    SymmetricGroup,
)
from sk_eqsae.inspection import fvu

from ._memory import resident, watched
from ._rounds import interleaved

ORDER = 4
PAPER_EPOCHS = 150
SHARD = 500  # orbits written or tested at a time
GROUPS = {
    "C4": CyclicGroup(4),
    "C360": CyclicGroup(360),
    "D4": DihedralGroup(4),
    "S5": SymmetricGroup(5),
}
BASE_MODELS = {"mlp": (MLPAutoencoder, 12), "cnn": (CNNAutoencoder, 3)}


def large_activation_transform(
    n_rows: int = 200_000, n_features: int = 4_096, noise: float = 0.01
) -> dict:
    """Fit the exact law of C4 on a file of activations, in a process of its own.

    Orbits follow four copies of n_features / 4 latents in a skew basis, with a
    spectrum that falls as 1 / sqrt(rank), plus white noise.

    Returns
    -------
    result : dict
        Seconds by the clock and of CPU time, highest resident memory of the process
        in MB (and before the fit, with everything imported), R2 on 1,000 orbits that
        were not fitted, the same of the true matrix, and the error of the law.
    """
    size = 4 * n_rows * n_features
    with tempfile.TemporaryDirectory() as folder:
        if shutil.disk_usage(folder).free < 2 * size:
            raise OSError(f"{folder} has no room for {2 * size / 1e9:.1f} GB")
        _write_orbits(Path(folder), n_rows // ORDER, n_features, noise)
        command = [sys.executable, "-m", "benchmarks.speed._symmetry", folder]
        output = subprocess.run(command, check=True, capture_output=True, text=True)
    case = {"n_rows": n_rows, "n_features": n_features, "file_mb": size / 1e6}
    return case | json.loads(output.stdout)


def moments(rounds: int, n_orbits: int = 16_000, n_features: int = 1_024) -> dict:
    """Compare what more orbits add to a fit of M with the products that they need.

    Under C4 an orbit has four Fourier coefficients in real numbers, of which a fit
    needs four symmetric products and one that is not.
    """
    rng = np.random.default_rng(0)
    forth = np.linalg.qr(rng.normal(size=(n_features, n_features)))[0]
    X = _orbits(rng, 2 * n_orbits, forth.astype(np.float32), 0.01)
    parts = np.moveaxis(X[:n_orbits].astype(np.float64), 1, 0).copy()
    X = X.reshape(-1, n_features)
    orbit, power = np.divmod(np.arange(len(X)), ORDER)

    def fit(n):
        fitter, rows = ActivationTransformFitter(ORDER), slice(ORDER * n)
        fitter.fit(X[rows], groups=orbit[rows], power=power[rows])

    def products():
        for part in parts:
            part.T @ part
        parts[1].T @ parts[0]

    contenders = {
        "few": lambda: fit(n_orbits),
        "many": lambda: fit(2 * n_orbits),
        "products": products,
    }
    times = interleaved(contenders, rounds)
    added = times["many_ms"] - times["few_ms"]
    case = {"n_orbits": n_orbits, "n_features": n_features, **times}
    return case | {"rate": times["products_ms"] / added}


def _write_orbits(folder: Path, n_orbits: int, n_features: int, noise: float) -> None:
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(n_features, n_features)))[0]
    stretch = np.linspace(1, 2, n_features)
    forth, back = basis * stretch, basis.T / stretch[:, np.newaxis]
    np.save(folder / "M.npy", forth.T @ np.roll(back.T, n_features // ORDER, axis=0))
    forth = forth.astype(np.float32)
    for name, count in {"train": n_orbits, "test": 1_000}.items():
        shape = (count, ORDER, n_features)
        X = np.lib.format.open_memmap(
            folder / f"{name}.npy", "w+", dtype=np.float32, shape=shape
        )
        for start in range(0, count, SHARD):
            X[start : start + SHARD] = _orbits(
                rng, min(SHARD, count - start), forth, noise
            )
        X.flush()


def _orbits(rng, n_orbits, forth, noise):
    n_latents = len(forth) // ORDER
    scale = np.tile(np.arange(1, n_latents + 1) ** -0.5, ORDER).astype(np.float32)
    latents = rng.standard_normal((n_orbits, len(forth)), np.float32) * scale
    moved = [np.roll(latents, n_latents * p, axis=1) for p in range(ORDER)]
    rows = np.stack([latent @ forth for latent in moved], axis=1)
    rows += np.float32(noise) * rng.standard_normal(rows.shape, np.float32)
    return rows


def exact_against_adam(
    base_model: str = "mlp", n_images: int = 2_000, n_epochs: int = 5, rounds: int = 5
) -> dict:
    """Compare the closed form of the exact law with 150 epochs of Adam.

    Activations are those of a trained base model on images of shapes and their quarter
    turns. Adam fits a free law, the paper's way; it runs for `n_epochs` epochs, and
    its time is scaled to 150 of them.

    Returns
    -------
    result : dict
        Milliseconds of each fit and, over the rounds, the median ratio of their times;
        R2 on held-out orbits of the exact law and of the exact law refined by Adam.
    """
    train, test = _shape_orbits(base_model, n_images).split(random_state=0)
    exact = ActivationTransformFitter(ORDER)
    settings = {"solver": "adam", "random_state": 0}
    adam = ActivationTransformFitter(
        ORDER, group_law="free", max_epochs=n_epochs, **settings
    )
    contenders = {
        name: lambda f=fitter: f.fit(train.X, groups=train.groups, power=train.power)
        for name, fitter in {"exact": exact, "adam": adam}.items()
    }
    times = interleaved(contenders, rounds)
    for name in ("adam_ms", "adam_ratio"):
        times[name] *= PAPER_EPOCHS / n_epochs
    case = {"base_model": base_model, "adam_epochs_timed": n_epochs, **times}
    refined = ActivationTransformFitter(ORDER, **settings)
    refined.fit(train.X, groups=train.groups, power=train.power)
    for name, fitter in {"exact": exact, "refined": refined}.items():
        r2 = fitter.score(test.X, groups=test.groups, power=test.power)
        case |= {f"{name}_r2": r2, f"{name}_order_error": fitter.order_error_}
    return case


def moves(name: str, rounds: int, n_features: int = 64, n_rows: int = 2_000) -> dict:
    """Time what moves rows by M, beside `transform`, and one matrix of M.

    M permutes features as the group does. Peak memory is that of `predict_power`,
    in a process of its own.
    """
    sae, X, power = moving_autoencoder(name, n_features, n_rows)
    fitter = sae.activation_transform_
    contenders = {
        "transform": lambda: sae.transform(X),
        "predict_power": lambda: sae.predict_power(X),
        "reconstruct": lambda: sae.reconstruct(X, power=power),
        "act": lambda: fitter.act(X, power),
        "matrix": lambda: fitter.matrix(power[-1]),
    }
    case = {"order": sae.order_, "n_features": n_features, "n_rows": n_rows}
    command = [sys.executable, "-m", "benchmarks.speed._symmetry", name]
    command += [str(n_features), str(n_rows)]
    output = subprocess.run(command, check=True, capture_output=True, text=True)
    return case | interleaved(contenders, rounds) | json.loads(output.stdout)


def moving_autoencoder(name: str, n_features: int, n_rows: int) -> tuple:
    """An EquivariantSAE of a group, rows, and the power of each."""
    group = GROUPS[name]
    rng = np.random.default_rng(0)
    regular = group.multiplication_table  # element g moves place h to place gh
    n_copies = -(-n_features // group.order)
    n_orbits = max(2 * n_features // group.order, 8)
    latents = rng.normal(size=(n_orbits, n_copies, group.order))
    moved = np.stack([latents[..., np.argsort(row)] for row in regular], axis=1)
    mix = rng.normal(size=(n_copies * group.order, n_features)) / n_features**0.5
    if group.order <= n_features:
        mix = np.eye(n_copies * group.order, n_features)
    X = (moved.reshape(n_orbits * group.order, -1) @ mix).astype(np.float32)
    groups = np.repeat(np.arange(n_orbits), group.order)
    power = group.power_of(np.tile(np.arange(group.order), n_orbits))
    settings = {"k": 8, "max_epochs": 1, "random_state": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # M of mixed rows is not to be trusted
        sae = EquivariantSAE(256, symmetry=group, hidden_dim=64, **settings)
        sae.fit(X, groups=groups, power=power)
    rows = np.resize(np.arange(len(X)), n_rows)
    return sae, X[rows], power[rows]


def _peak_of_poses(name: str, n_features: str, n_rows: str) -> dict:
    sae, X, _ = moving_autoencoder(name, int(n_features), int(n_rows))
    before = resident()
    sae.predict_power(X)
    return {"peak_mb": resident(), "peak_mb_before": before}


def factored(
    n_features: int = 65_536, n_components: int = 64, n_orbits: int = 200
) -> dict:
    """Fit M in a few directions of many features and use it, in a process of its own.

    Peak memory is that of rows, fit, score and act.
    """
    command = [sys.executable, "-m", "benchmarks.speed._symmetry", "factored"]
    command += [str(n_features), str(n_components), str(n_orbits)]
    output = subprocess.run(command, check=True, capture_output=True, text=True)
    sizes = {"n_features": n_features, "n_components": n_components}
    return sizes | {"n_orbits": n_orbits} | json.loads(output.stdout)


def _fit_factored(_, *sizes: str) -> dict:
    n_features, n_components, n_orbits = map(int, sizes)
    rng = np.random.default_rng(0)
    latents = rng.standard_normal((n_orbits, n_components), np.float32)
    directions = rng.standard_normal((n_components, n_features), np.float32)
    step = n_components // ORDER
    X = np.empty((ORDER, n_orbits, n_features), np.float32)
    for p in range(ORDER):
        np.matmul(np.roll(latents, p * step, axis=1), directions, out=X[p])
    X = X.reshape(-1, n_features)
    power, groups = np.indices((ORDER, n_orbits)).reshape(2, -1)
    metadata = {"groups": groups, "power": power}
    before, wall = resident(), -time.perf_counter()
    fitter = ActivationTransformFitter(
        ORDER, n_components=n_components, random_state=0
    ).fit(X, **metadata)
    wall += time.perf_counter()
    return {
        "fit_seconds": wall,
        "r2": fitter.score(X, **metadata),
        "order_error": fitter.order_error_,
        "error_of_act": float(
            np.abs(fitter.act(X[:n_orbits], 1) - X[n_orbits:][:n_orbits]).max()
        ),
        "peak_mb": resident(),
        "peak_mb_before": before,
    }


def _shape_orbits(base_model: str, n_images: int):
    model, epochs = BASE_MODELS[base_model]
    model = model()
    shapes = make_shapes(n_images, orientation="random", random_state=0)
    fit_autoencoder(model, shapes.images, max_epochs=epochs, random_state=0)
    action = ImageRotation(order=ORDER)
    return extract_orbits(model, shapes.images, layer="encoder", action=action)


def _fit_file(folder: str | Path) -> dict:
    folder = Path(folder)
    X = np.load(folder / "train.npy", mmap_mode="r")
    n_orbits, order, n_features = X.shape
    groups, power = np.indices((n_orbits, order)).reshape(2, -1)
    before = resident()
    wall, cpu = -time.perf_counter(), -time.process_time()
    fitter = ActivationTransformFitter(order, group_law="exact")
    with watched() as peaks:
        fitter.fit(X.reshape(-1, n_features), groups=groups, power=power)
    result = {
        "seconds": wall + time.perf_counter(),
        "cpu_seconds": cpu + time.process_time(),
        "peak_mb": resident(),
        "peak_mb_before": before,
        **peaks,
        "rank": fitter.rank_,
        "order_error": fitter.order_error_,
    }
    test, truth = np.load(folder / "test.npy"), np.load(folder / "M.npy")
    return result | {
        "test_r2": _r2(test, fitter.M_),
        "test_r2_of_truth": _r2(test, truth),
    }


def _r2(orbits, matrix):
    moved, scores = orbits[:, 0], []
    for p in range(1, ORDER):
        moved = moved @ matrix.T
        scores.append(1 - fvu(orbits[:, p], moved))
    return float(np.mean(scores))


if __name__ == "__main__":
    tasks = dict.fromkeys(GROUPS, _peak_of_poses) | {"factored": _fit_factored}
    task = tasks.get(sys.argv[1], _fit_file)
    print(json.dumps(task(*sys.argv[1:])))
