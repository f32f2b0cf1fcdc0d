"""Time the closed form of M: a large file, and against gradient descent."""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.paper import CNNAutoencoder, MLPAutoencoder, fit_autoencoder
from sk_eqsae import ActivationTransformFitter, extract_orbits, make_shapes
from sk_eqsae.groups import ImageRotation
from sk_eqsae.inspection import fvu

from ._rounds import interleaved

ORDER = 4
PAPER_EPOCHS = 150
SHARD = 500  # orbits written or tested at a time
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


def _shape_orbits(base_model: str, n_images: int):
    model, epochs = BASE_MODELS[base_model]
    model = model()
    shapes = make_shapes(n_images, orientation="random", random_state=0)
    fit_autoencoder(model, shapes.images, max_epochs=epochs, random_state=0)
    action = ImageRotation(order=ORDER)
    return extract_orbits(model, shapes.images, layer="encoder", action=action)


def _fit_file(folder: Path) -> dict:
    X = np.load(folder / "train.npy", mmap_mode="r")
    n_orbits, order, n_features = X.shape
    groups, power = np.indices((n_orbits, order)).reshape(2, -1)
    before = _peak_mb()
    wall, cpu = -time.perf_counter(), -time.process_time()
    fitter = ActivationTransformFitter(order, group_law="exact")
    fitter.fit(X.reshape(-1, n_features), groups=groups, power=power)
    result = {
        "seconds": wall + time.perf_counter(),
        "cpu_seconds": cpu + time.process_time(),
        "peak_mb": _peak_mb(),
        "peak_mb_before": before,
        "rank": fitter.rank_,
        "order_error": fitter.order_error_,
    }
    test, truth = np.load(folder / "test.npy"), np.load(folder / "M.npy")
    return result | {
        "test_r2": _r2(test, fitter.M_),
        "test_r2_of_truth": _r2(test, truth),
    }


def _peak_mb() -> float:
    """Highest resident memory of this process so far.

    Not ru_maxrss, which begins with that of the process that started this one.
    """
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) / 1024


def _r2(orbits, matrix):
    moved, scores = orbits[:, 0], []
    for p in range(1, ORDER):
        moved = moved @ matrix.T
        scores.append(1 - fvu(orbits[:, p], moved))
    return float(np.mean(scores))


if __name__ == "__main__":
    print(json.dumps(_fit_file(Path(sys.argv[1]))))
