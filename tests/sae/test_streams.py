"""Rows on the disk: the same fits, some rows at a time."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.base import clone

from sk_eqsae import (
    ActivationTransformFitter,
    EquivariantSAE,
    GroupTiedSAE,
    TopKSAE,
    fit_many,
)
from sk_eqsae._rows import Spread, Stream
from sk_eqsae._training import StreamedBatches
from sk_eqsae.activations import Shards

SETTINGS = {"k": 2, "max_epochs": 3, "batch_size": 16, "random_state": 0}
SAES = [
    TopKSAE(24, **SETTINGS),
    EquivariantSAE(24, hidden_dim=8, activation="batch_topk", **SETTINGS),
    GroupTiedSAE(26, n_free=2, **SETTINGS),
]
SMALL = 0.004  # megabytes: 83 rows of 12 features
every_sae = pytest.mark.parametrize("sae", SAES, ids=lambda sae: type(sae).__name__)


@pytest.fixture(params=["by_orbit", "by_power"])
def orbits(request):
    rng = np.random.default_rng(0)
    canonical = np.abs(rng.normal(size=(60, 3))) @ np.eye(3, 12) + 3
    X = np.stack([np.roll(canonical, 3 * p, axis=1) for p in range(4)])
    X += 0.01 * rng.normal(size=X.shape)
    groups, power = np.tile(np.arange(60), 4), np.repeat(np.arange(4), 60)
    order = np.argsort(groups, kind="stable")
    order = order if request.param == "by_orbit" else np.arange(240)
    X = X.reshape(-1, 12).astype(np.float16)[order]
    return X, {"groups": groups[order], "power": power[order]}


def on_disk(X, folder, kind):
    if kind == "memmap":
        np.save(folder / "rows.npy", X)
        return np.load(folder / "rows.npy", mmap_mode="r")
    for i, part in enumerate(np.array_split(X, 7)):
        np.save(folder / f"{i}.npy", part)
    return Shards(folder)


def metadata_for(sae, metadata):
    return {} if isinstance(sae, TopKSAE) else metadata


@every_sae
@pytest.mark.parametrize("kind", ["memmap", "shards"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rows_that_fit_into_the_buffer_give_the_same_to_the_bit(
    sae, kind, dtype, orbits, tmp_path
):
    X, metadata = orbits
    metadata, X = metadata_for(sae, metadata), X.astype(dtype)
    rows = on_disk(X, tmp_path, kind)
    expected = clone(sae).fit(X, **metadata)
    found = clone(sae).fit(rows, **metadata)
    for name in ("components_", "intercept_", "mean_", "scale_", "loss_curve_"):
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name
    in_memory = X.astype(np.float32) if dtype == np.float16 else X
    assert np.array_equal(found.transform(rows), expected.transform(in_memory))
    assert found.transform(rows).dtype == in_memory.dtype
    assert found.score(rows) == expected.score(in_memory)


@every_sae
def test_a_small_buffer_gives_a_fit_that_is_as_good(sae, orbits, tmp_path):
    X, metadata = orbits
    metadata = metadata_for(sae, metadata)
    rows = on_disk(X, tmp_path, "shards")
    sae = clone(sae).set_params(max_epochs=10)
    X = X.astype(np.float32)
    expected = clone(sae).fit(X, **metadata)
    found = clone(sae).set_params(buffer_size=SMALL).fit(rows, **metadata)
    assert not np.array_equal(found.components_, expected.components_)
    assert len(found.loss_curve_) == 10
    unexplained = 1 - np.array([found.score(X), expected.score(X)])
    assert unexplained[0] < 1.2 * unexplained[1] + 0.002


@every_sae
def test_a_memory_map_and_shards_give_the_same_to_the_bit(sae, orbits, tmp_path):
    X, metadata = orbits
    metadata = metadata_for(sae, metadata)
    sae = clone(sae).set_params(buffer_size=SMALL)
    (tmp_path / "one").mkdir()
    saes = [
        clone(sae).fit(rows, **metadata)
        for rows in (
            on_disk(X, tmp_path, "shards"),
            on_disk(X, tmp_path / "one", "memmap"),
        )
    ]
    assert np.array_equal(saes[0].components_, saes[1].components_)


def test_estimators_over_streams_are_fitted_one_after_another(orbits, tmp_path):
    X, _ = orbits
    rows = on_disk(X, tmp_path, "shards")
    saes = [TopKSAE(24, **(SETTINGS | {"k": k}), buffer_size=SMALL) for k in (1, 2)]
    expected = [clone(sae).fit(rows).components_ for sae in saes]
    for sae, components in zip(fit_many(saes, rows), expected, strict=True):
        assert np.array_equal(sae.components_, components)


@pytest.mark.parametrize("group_law", ["exact", "free", "orthogonal"])
def test_m_is_fitted_on_shards(group_law, orbits, tmp_path):
    X, metadata = orbits
    fitter = ActivationTransformFitter(group_law=group_law)
    expected = clone(fitter).fit(X.astype(np.float32), **metadata)
    found = clone(fitter).fit(on_disk(X, tmp_path, "shards"), **metadata)
    assert np.array_equal(found.M_, expected.M_)


@pytest.mark.parametrize("changes", [{"solver": "adam"}, {"n_components": 3}])
def test_what_needs_all_rows_at_once_says_so(changes, orbits, tmp_path):
    X, metadata = orbits
    rows = on_disk(X, tmp_path, "shards")
    with pytest.raises(TypeError, match=r"would take .* as one array"):
        ActivationTransformFitter(**changes).fit(rows, **metadata)


@every_sae
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_in_a_file_is_an_error(sae, bad, orbits, tmp_path):
    X, metadata = orbits
    metadata = metadata_for(sae, metadata)
    sae = clone(sae).set_params(buffer_size=SMALL).fit(X, **metadata)
    X[200, 3] = bad
    rows = on_disk(X, tmp_path, "shards")
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        clone(sae).fit(rows, **metadata)
    for method in (sae.transform, sae.score):
        with pytest.raises(ValueError, match=r"NaN|infinity"):
            method(rows)


def test_other_features_are_an_error(orbits, tmp_path):
    X, _ = orbits
    sae = TopKSAE(24, **SETTINGS).fit(X[:, 1:])
    with pytest.raises(ValueError, match="12 features, but TopKSAE is expecting 11"):
        sae.transform(on_disk(X, tmp_path, "shards"))


def stream_of(n_rows, buffer_rows, n_tensors=1):
    rows = torch.arange(n_rows, dtype=torch.float32)[:, None]
    tensors = [rows, -rows][:n_tensors]
    reads = []

    def read(first, last):
        reads.append((first, last))
        return tuple(tensor[first:last] for tensor in tensors)

    stream = Stream(read, n_rows, 4, 4 * buffer_rows)
    return stream, reads


def batches_of(stream, batch_size):
    return StreamedBatches(stream, batch_size, [0], torch.device("cpu"))


@pytest.mark.parametrize("n_rows", [1, 100, 999])
@pytest.mark.parametrize("buffer_rows", [1, 64, 700])
def test_an_epoch_has_every_row_once_in_batches_of_one_size(n_rows, buffer_rows):
    stream, _ = stream_of(n_rows, buffer_rows, n_tensors=2)
    batches = batches_of(stream, 32)
    first, second = (list(batches.beginning_at(0)) for _ in range(2))
    assert len(first) == len(batches) == -(-n_rows // 32)
    assert all(len(b[0]) == 32 for b in first[:-1])
    assert all(torch.equal(inputs, -target) for inputs, target in first)
    rows, again = (torch.cat([b[0] for b in epoch])[:, 0] for epoch in (first, second))
    assert torch.equal(rows.sort().values, torch.arange(n_rows, dtype=torch.float32))
    assert n_rows == 1 or not torch.equal(rows, again)


def test_a_batch_mixes_rows_from_all_over():
    stream, _ = stream_of(100_000, 10_000)
    for batch in batches_of(stream, 256).beginning_at(0):
        rows = batch[0][:, 0]
        assert 0.4 < rows.mean() / 50_000 < 1.6
        assert rows.std() > 20_000


def test_batches_that_were_seen_are_left_out_without_reading_them():
    stream, reads = stream_of(1000, 100)
    batches = batches_of(stream, 25)
    [generator] = batches.generators
    state = generator.get_state()
    expected = [b[0].clone() for b in batches.beginning_at(0)]
    reads.clear()
    generator.set_state(state)
    found = [b[0].clone() for b in batches.beginning_at(30)]
    assert all(map(torch.equal, found, expected[30:]))
    assert sum(last - first for first, last in reads) == 300  # from row 700


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_mean_and_scale_summed_up_are_those_of_all_rows(scale):
    X = np.random.default_rng(0).normal(size=(1000, 5)) + 3
    spread = Spread()
    for part in np.split(X * scale, [1, 2, 700]):
        spread.add(part)
    np.testing.assert_allclose(spread.mean, X.mean(axis=0) * scale)
    expected = np.sqrt(np.square(X - X.mean(axis=0)).mean()) * scale
    np.testing.assert_allclose(spread.root_mean_square(), expected)


MEMORY = """
import re, sys, numpy as np
from sk_eqsae import TopKSAE
from sk_eqsae.activations import Shards
def memory(name):
    status = open("/proc/self/status").read()
    return int(re.search(name + r":\\s+(\\d+) kB", status).group(1)) / 1024
for times in (6, 6, 24):
    rows = Shards([sys.argv[1]] * times)
    sae = TopKSAE(16, k=2, max_epochs=1, batch_size=4096, buffer_size=16).fit(rows)
    sae.set_params(sparse_output=True).transform(rows), sae.score(rows)
    sae.partial_fit(rows)
    print(memory("VmHWM"))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_number_of_rows(tmp_path):
    rows = np.random.default_rng(0).normal(size=(4096, 1024)).astype(np.float16)
    np.save(tmp_path / "rows.npy", rows)  # 8 MB, read as if there were many of it
    command = [sys.executable, "-c", MEMORY, str(tmp_path / "rows.npy")]
    done = subprocess.run(command, check=True, capture_output=True, timeout=900)
    # 96 MB of rows in float32, again when the allocator has what it keeps, and 384 MB
    _, few, many = map(float, done.stdout.split())
    assert many < few + 96
