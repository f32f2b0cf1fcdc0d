import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array

from sk_eqsae import extract_orbits
from sk_eqsae.groups import (
    CyclicGroup,
    DihedralGroup,
    ProductGroup,
    SymmetricGroup,
)
from sk_eqsae.inspection import response_spectrum


def orbits_of(group, n_orbits, n_features, seed=0):
    X = np.random.default_rng(seed).normal(size=(n_orbits, group.order, n_features))
    return X, {
        "groups": np.repeat(np.arange(n_orbits), group.order),
        "power": np.tile(group.power_of(np.arange(group.order)).T, n_orbits).T,
    }


def energies(table):
    return table.filter(regex="^energy ").to_numpy()


@pytest.mark.parametrize("p", [2, 5, 8, 31])
def test_energies_of_a_cyclic_group_are_those_of_the_fft(p):
    X, metadata = orbits_of(CyclicGroup(p), 6, 3)
    table = response_spectrum(X.reshape(-1, 3), **metadata)
    waves = np.abs(np.fft.fft(X - X.mean(axis=(0, 1)), axis=1)) ** 2 / p
    waves = waves.sum(axis=0) / (6 * p)
    for name, frequencies in {
        "trivial": [0],
        "sign": [p // 2],
        **{f"rotation {k}": [k, p - k] for k in range(1, (p + 1) // 2)},
    }.items():
        if f"energy {name}" in table:
            expected = waves[frequencies].sum(axis=0)
            found = table[f"energy {name}"] * table["variance"]
            np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_allclose(table["variance"], X.reshape(-1, 3).var(axis=0))
    np.testing.assert_allclose(energies(table).sum(axis=1), 1)


@pytest.mark.parametrize(
    "group",
    [DihedralGroup(4), SymmetricGroup(3), ProductGroup(CyclicGroup(3), CyclicGroup(4))],
    ids=repr,
)
def test_energies_are_those_of_the_isotypic_projections(group):
    X, metadata = orbits_of(group, 5, 2)
    table = response_spectrum(X.reshape(-1, 2), **metadata, symmetry=group)
    f = X - X.mean(axis=(0, 1))
    quotients = group.multiplication_table[group.inverses]  # e^-1 g
    for irrep in group.irreps:
        weight = irrep.dim / (irrep.commutant_dim * group.order)
        part = sum(
            weight * irrep.character[e] * f[:, quotients[e]] for e in range(group.order)
        )
        expected = np.square(part).sum(axis=(0, 1)) / np.square(f).sum(axis=(0, 1))
        np.testing.assert_allclose(table[f"energy {irrep.name}"], expected)


def test_frequencies_of_a_sum_modulo_p_are_on_the_diagonal():
    p = 7
    a, b = np.indices((p, p)).reshape(2, -1)
    X = np.cos(2 * np.pi * 3 * (a + b) / p)[:, np.newaxis]
    group = ProductGroup(CyclicGroup(p), CyclicGroup(p))
    power = np.column_stack([a, b])
    one = response_spectrum(X, groups=np.zeros(p * p), power=power, symmetry=group)
    assert energies(one).max() == pytest.approx(1)
    assert "rotation 3 x rotation 3" in one["irrep"][0]


def test_sparse_rows_names_and_chunks(monkeypatch):
    X, metadata = orbits_of(CyclicGroup(5), 6, 3)
    X = np.maximum(X.reshape(-1, 3), 0)
    expected = response_spectrum(X, **metadata)
    module = "sk_eqsae.inspection._response_spectrum._CHUNK_ENTRIES"
    monkeypatch.setattr(module, 20)
    pd.testing.assert_frame_equal(response_spectrum(csr_array(X), **metadata), expected)
    named = response_spectrum(pd.DataFrame(X, columns=list("abc")), **metadata)
    assert named.index.tolist() == ["a", "b", "c"]


def test_what_does_not_vary_has_no_spectrum_and_cut_orbits_are_left_out():
    X, metadata = orbits_of(CyclicGroup(4), 6, 2)
    X = X.reshape(-1, 2)
    X[:, 1] = 0.1
    table = response_spectrum(X, **metadata)
    assert table["variance"][1] == 0
    assert np.isnan(energies(table)[1]).all()
    assert pd.isna(table["irrep"][1])
    kept = np.arange(len(X)) != 3
    part = {name: values[kept] for name, values in metadata.items()}
    whole = {name: values[4:] for name, values in metadata.items()}
    pd.testing.assert_frame_equal(
        response_spectrum(X[kept], **part), response_spectrum(X[4:], **whole)
    )
    with pytest.raises(ValueError, match="no orbit has rows of all 4 elements"):
        response_spectrum(X[:3], groups=[0, 0, 0], power=[0, 1, 2], symmetry=4)


def test_sites_are_orbits_of_their_own():
    X, metadata = orbits_of(CyclicGroup(4), 6, 2)
    expected = response_spectrum(X.reshape(-1, 2), **metadata)
    site = metadata["groups"] % 2
    metadata["groups"] //= 2
    found = response_spectrum(X.reshape(-1, 2), **metadata, site=site)
    pd.testing.assert_frame_equal(found, expected)


class OfPairs(torch.nn.Module):
    """A transformer that reads two numbers modulo p and a last token."""

    def __init__(self, p):
        super().__init__()
        self.embed = torch.nn.Embedding(p + 1, 16)
        self.block = torch.nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)

    def forward(self, input_ids):
        return self.block(self.embed(input_ids) * torch.tensor([[1.0], [2], [3]]))


@pytest.mark.parametrize("p", [4, 5])
def test_of_a_network_on_pairs_they_are_those_of_the_fft_in_two_dimensions(p):
    def add(batch, power):
        batch["input_ids"][:, :2] = (batch["input_ids"][:, :2] + power) % p
        return batch

    group = ProductGroup(CyclicGroup(p), CyclicGroup(p))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = OfPairs(p)
    orbit = extract_orbits(
        model,
        {"input_ids": np.array([[0, 0, p]])},
        layer="block",
        action=add,
        symmetry=group,
        output=lambda out: out[:, -1],
    )
    table = response_spectrum(orbit.X, **orbit.metadata, symmetry=group)
    pairs = orbit.X.reshape(p, p, -1).astype(float)
    waves = np.fft.fft2(pairs - pairs.mean(axis=(0, 1)), axes=(0, 1))
    expected = np.square(np.abs(waves)).sum(axis=2) / p**4
    of_irrep = table.filter(like="energy").mul(table["variance"], axis=0).sum()
    for irrep in group.irreps:
        # its character has a peak at its frequencies, which are one or two
        at = np.abs(np.fft.fft2(irrep.character.reshape(p, p))) > 1e-6
        assert 1 <= at.sum() <= 2
        found = of_irrep[f"energy {irrep.name}"]
        np.testing.assert_allclose(found, expected[at].sum(), atol=1e-8)
