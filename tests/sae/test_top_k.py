import pytest
import torch

from sk_eqsae.sae._top_k import top_k


@pytest.mark.parametrize(
    ("n_components", "k"),
    [(7, 3), (64, 1), (2048, 8), (2048, 32), (8192, 32), (50, 50), (1750, 32), (71, 1)],
)
def test_top_k_equals_torch_topk(n_components, k):
    x = torch.randn(9, n_components, generator=torch.Generator().manual_seed(2))
    values, indices = top_k(x, k)
    expected = torch.topk(x, k, dim=1).values
    assert torch.equal(values.sort(1, descending=True).values, expected)
    assert torch.equal(x.gather(1, indices), values)
    assert all(len(set(row.tolist())) == k for row in indices)


def test_top_k_of_tied_rows_keeps_k_different_entries():
    values, indices = top_k(torch.zeros(3, 2048), 16)
    assert values.abs().max() == 0
    assert all(len(set(row.tolist())) == 16 for row in indices)


def test_top_k_looks_at_columns_that_fill_no_group():
    x = torch.arange(71.0).repeat(3, 1)
    for columns in (x, -x):
        values, indices = top_k(columns, 2)
        assert torch.equal(values.sort(1).values, columns.sort(1).values[:, -2:])
        assert torch.equal(columns.gather(1, indices), values)
