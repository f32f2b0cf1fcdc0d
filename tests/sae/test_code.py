"""What is active in a code, and who decides."""

import numpy as np
import pytest
import torch

from sk_eqsae.sae import _code
from sk_eqsae.sae._code import (
    BatchTopK,
    Prefixes,
    Stacked,
    Threshold,
    TopK,
    columns_of,
    top_k,
)

ROWS = torch.randn(9, 64, generator=torch.Generator().manual_seed(0))


def dense(code, n_rows=9, n_components=64):
    latents = torch.zeros(n_rows, n_components)
    rows = code.bags if code.rows is None else code.rows[code.bags]
    latents[rows, code.indices] = code.values
    return latents


def kept(mask):
    return torch.where(mask, ROWS, 0.0).relu()


def test_topk_keeps_the_largest_of_each_row():
    smallest = ROWS.sort(1, descending=True).values[:, 4:5]
    assert torch.equal(dense(TopK(5)(ROWS)), kept(smallest <= ROWS))


def test_batch_topk_keeps_the_largest_of_the_batch():
    smallest = ROWS.flatten().sort(descending=True).values[5 * 9 - 1]
    assert torch.equal(dense(BatchTopK(5)(ROWS)), kept(smallest <= ROWS))


def test_batch_topk_sets_negative_values_to_zero():
    assert dense(BatchTopK(60)(ROWS)).min() == 0


def test_threshold_keeps_what_is_above():
    values = ROWS.round(decimals=0)  # several are equal to the threshold
    code = Threshold(1.0)(values)
    assert (code.values > 1).all()
    assert len(code.values) == (values > 1).sum()


@pytest.mark.parametrize("select", [TopK(5), BatchTopK(5)])
def test_prefixes_split_a_row_into_the_parts_of_the_dictionary(select):
    sizes = [3, 20, 64]
    part = np.repeat([0, 1, 2], np.diff(sizes, prepend=0))
    code = Prefixes(select, part)(ROWS)
    assert torch.equal(dense(code), dense(select(ROWS)))
    part = code.bags % 3
    starts = torch.tensor([0, 3, 20])
    assert (code.indices >= starts[part]).all()
    assert (code.indices < torch.tensor(sizes)[part]).all()
    assert torch.equal(code.offsets.diff(), torch.bincount(code.bags, minlength=27))


def test_stacked_selections_select_each_from_its_own_rows():
    selects = [TopK(5), TopK(5), BatchTopK(3)]
    code = Stacked(selects)(torch.cat([ROWS, ROWS + 1, ROWS]))
    found = dense(code, 3 * 9, 3 * 64).reshape(3, 9, 3, 64)
    for i, select in enumerate(selects):
        assert torch.equal(found[i, :, i], dense(select(ROWS + (i == 1))))
        found[i, :, i] = 0
    assert not found.any()


@pytest.mark.parametrize(
    ("n_components", "k"),
    [(7, 3), (64, 1), (2048, 8), (2048, 32), (8192, 32), (50, 50), (1750, 32), (71, 1)],
)
@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("small", [0, 2**16])  # groups from no entries on, from many
def test_top_k_equals_torch_topk(n_components, k, threads, small, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(_code, "_SMALL", small)
    x = torch.randn(9, n_components, generator=torch.Generator().manual_seed(2))
    values, indices = top_k(x, k)
    expected = torch.topk(x, k, dim=1).values
    assert torch.equal(values.sort(1, descending=True).values, expected)
    assert torch.equal(x.gather(1, indices), values)
    assert all(len(set(row.tolist())) == k for row in indices)


@pytest.mark.parametrize("n_columns", [256, 2048])
def test_top_k_of_tied_rows_keeps_k_different_entries(n_columns):
    values, indices = top_k(torch.zeros(3, n_columns), 16)
    assert values.abs().max() == 0
    assert all(len(set(row.tolist())) == 16 for row in indices)


def test_ties_of_one_row_do_not_stand_for_nan_of_another():
    table = torch.randn(2, 256, generator=torch.Generator().manual_seed(2))
    table[0, :9] = 10.0  # one more than is kept
    table[1, 0] = torch.nan  # which numpy takes for the largest
    values, indices = top_k(table, 8)
    assert torch.equal(values[0], torch.full((8,), 10.0))
    expected = torch.topk(table[1], 8).values[1:]
    assert values[1].isnan().sum() == 1
    assert torch.equal(values[1, ~values[1].isnan()].sort(descending=True)[0], expected)
    assert torch.equal(table.gather(1, indices).nan_to_num(), values.nan_to_num())


def test_top_k_looks_at_columns_that_fill_no_group(monkeypatch):
    monkeypatch.setattr(_code, "_SMALL", 0)
    x = torch.arange(71.0).repeat(3, 1)
    for columns in (x, -x):
        values, indices = top_k(columns, 2)
        assert torch.equal(values.sort(1).values, columns.sort(1).values[:, -2:])
        assert torch.equal(columns.gather(1, indices), values)


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("columns", [[], [4], [0, 3, 4]])
def test_columns_are_those_whoever_reads_them(monkeypatch, n_threads, columns):
    monkeypatch.setattr(torch, "get_num_threads", lambda: n_threads)
    table = torch.arange(15.0).view(3, 5)
    columns = torch.tensor(columns, dtype=torch.int64)
    assert torch.equal(columns_of(table, columns), table[:, columns])
