import numpy as np
import pytest
import torch
from torch.nn.functional import linear

from sk_eqsae._training import seeded
from sk_eqsae.sae._module import SquaredError, TopKModule
from sk_eqsae.sae._sparse_ops import TopKCode, top_k


def dense_forward(inputs, weight, bias, components, intercept, k):  # noqa: PLR0917
    """The same map, written with a dense code and torch's own gradients."""
    pre_activations = linear(inputs, weight, bias)
    values, indices = pre_activations.topk(k, dim=1)
    code = torch.zeros_like(pre_activations).scatter(1, indices, values.relu())
    return code @ components + intercept


def tensors(n_rows=6, n_inputs=5, n_components=12, n_features=4):
    generator = torch.Generator().manual_seed(0)
    shapes = [
        (n_rows, n_inputs),
        (n_components, n_inputs),
        (n_components,),
        (n_components, n_features),
        (n_features,),
    ]
    return [
        torch.randn(s, dtype=torch.float64, generator=generator).requires_grad_()
        for s in shapes
    ]


@pytest.mark.parametrize("k", [1, 3, 12])
def test_gradients_agree_with_finite_differences(k):
    assert torch.autograd.gradcheck(
        lambda *args: TopKCode.apply(*args, k), tensors(), eps=1e-6
    )


@pytest.mark.parametrize("k", [1, 3, 12])
def test_output_and_gradients_equal_the_dense_ones(k):
    sparse, dense = tensors(), tensors()
    for function, args in [(TopKCode.apply, sparse), (dense_forward, dense)]:
        (function(*args, k) ** 3).sum().backward()
    torch.testing.assert_close(
        TopKCode.apply(*sparse, k), dense_forward(*dense, k), rtol=1e-12, atol=1e-12
    )
    for ours, theirs in zip(sparse, dense, strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("hidden_dim", [None, 16])
def test_loss_follows_the_dense_implementation_over_300_steps(hidden_dim):
    data = torch.randn(64, 8, generator=torch.Generator().manual_seed(1)).double()
    curves = []
    for step in (TopKCode.apply, dense_forward):
        with seeded(0):
            module = TopKModule(8, 64, 4, hidden_dim).double()
        optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
        curve = []
        for _ in range(300):
            hidden = module._hidden(data)
            encoder = module.encoder
            output = step(
                hidden,
                encoder.weight,
                encoder.bias,
                module.components,
                module.intercept,
                module.k,
            )
            loss = SquaredError()(output, data)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            curve.append(loss.item())
        curves.append(curve)
    np.testing.assert_allclose(*curves, rtol=1e-5)
    assert curves[0][-1] < curves[0][0] / 3


@pytest.mark.parametrize(
    ("n_components", "k"),
    [(7, 3), (64, 1), (2048, 8), (2048, 32), (8192, 32), (50, 50)],
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
