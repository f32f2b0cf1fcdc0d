import numpy as np
import pytest
import torch
from torch.nn.functional import linear

from sk_eqsae.sae import _sparse_step
from sk_eqsae.sae._code import (
    BatchTopK,
    Code,
    Prefixes,
    Threshold,
    TopK,
    fixed_size_code,
    join,
)
from sk_eqsae.sae._network import DenseNetwork
from sk_eqsae.sae._sparse_step import Pass, decode_sparse, gradients, put


@pytest.fixture(params=[True, False], ids=["csr", "embedding_bag"], autouse=True)
def kernels(request, monkeypatch):
    """Everything here holds with the CSR kernels and without them."""
    monkeypatch.setattr(_sparse_step, "_CSR_KERNELS", request.param)


def encoder(select):
    def encode(inputs, weight, bias):
        return select(linear(inputs, weight, bias))

    return encode


class SparseAutoencode(torch.autograd.Function):
    """The step as torch's checks of gradients ask for it."""

    @staticmethod
    def forward(ctx, inputs, weight, bias, components, encode, spare):  # noqa: PLR0917
        code = encode(inputs, weight, bias)
        ctx.save_for_backward(inputs, weight, components, *code)
        ctx.spare = spare
        return decode_sparse(code, components)

    @staticmethod
    def backward(ctx, grad):
        *tensors, code = *ctx.saved_tensors[:3], Code(*ctx.saved_tensors[3:])
        passed = Pass(*tensors, code)
        *of_weights, of_inputs = gradients(passed, grad.contiguous(), ctx.spare)
        return of_inputs, *of_weights, None, None


def sparse_forward(inputs, weight, bias, components, k):
    select = encoder(TopK(k))
    return SparseAutoencode.apply(inputs, weight, bias, components, select, {})


def dense_forward(inputs, weight, bias, components, k):
    """The same map, written with a dense code and torch's own gradients."""
    pre_activations = linear(inputs, weight, bias)
    values, indices = pre_activations.topk(k, dim=1)
    code = torch.zeros_like(pre_activations).scatter(1, indices, values.relu())
    return code @ components


def tensors(n_rows=6, n_inputs=5, n_components=12, n_features=4):
    generator = torch.Generator().manual_seed(0)
    shapes = [
        (n_rows, n_inputs),
        (n_components, n_inputs),
        (n_components,),
        (n_components, n_features),
    ]
    return [
        torch.randn(s, dtype=torch.float64, generator=generator).requires_grad_()
        for s in shapes
    ]


def parts(*sizes):
    return np.repeat(np.arange(len(sizes)), np.diff(sizes, prepend=0))


def with_auxiliary(pre_activations):
    """Code of a training step that revives latents 1, 4 and 5."""
    latents = torch.tensor([1, 4, 5])
    values = pre_activations[:, latents].relu()
    main = Prefixes(TopK(3), parts(4, 12))(pre_activations)
    more = fixed_size_code(values, latents.expand(len(values), -1))
    return join([main, more])


def moved(pre_activations):
    """Codes of which one is decoded by other latents than it was read from."""
    own = TopK(3)(pre_activations)
    return join(
        [own, own._replace(indices=(own.indices + 5) % 12, sources=own.indices)]
    )


@pytest.mark.parametrize(
    "select",
    [
        TopK(1),
        TopK(3),
        TopK(12),
        BatchTopK(3),
        Threshold(0.5),
        Prefixes(TopK(3), parts(4, 12)),
        Prefixes(BatchTopK(3), parts(1, 5, 12)),
        with_auxiliary,
        moved,
    ],
    ids=lambda s: type(s).__name__,
)
def test_gradients_agree_with_finite_differences(select):
    assert torch.autograd.gradcheck(
        lambda *args: SparseAutoencode.apply(*args, encoder(select), {}),
        tensors(),
        eps=1e-6,
    )


@pytest.mark.parametrize("k", [1, 3, 12])
def test_output_and_gradients_equal_the_dense_ones(k):
    sparse, dense = tensors(), tensors()
    for function, args in [(sparse_forward, sparse), (dense_forward, dense)]:
        (function(*args, k) ** 3).sum().backward()
    torch.testing.assert_close(
        sparse_forward(*sparse, k), dense_forward(*dense, k), rtol=1e-12, atol=1e-12
    )
    for ours, theirs in zip(sparse, dense, strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("hidden_dim", [None, 16])
def test_loss_follows_the_dense_implementation_over_300_steps(hidden_dim):
    data = torch.randn(64, 8, generator=torch.Generator().manual_seed(1)).double()
    curves = []
    for forward in (sparse_forward, dense_forward):
        module = DenseNetwork(8, 64, hidden_dim).double()
        optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
        curve = []
        for _ in range(300):
            output = forward(
                module.encoder_inputs(data),
                module.encoder.weight,
                module.encoder.bias,
                module.components,
                4,
            )
            loss = (output + module.intercept - data).square().sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            curve.append(loss.item())
        curves.append(curve)
    np.testing.assert_allclose(*curves, rtol=1e-5)
    assert curves[0][-1] < curves[0][0] / 3


def test_memory_of_gradients_is_used_again():
    weight, components = (torch.randn(12, 4, requires_grad=True) for _ in range(2))
    spare, left = {}, torch.empty(12, 4)
    place = left.data_ptr()
    put(spare, left)
    del left  # a gradient that somebody else holds is copied
    arguments = (torch.zeros(12), components, encoder(TopK(2)), spare)
    SparseAutoencode.apply(torch.randn(5, 4), weight, *arguments).sum().backward()
    pointers = {weight.grad.data_ptr(), components.grad.data_ptr()}
    assert (place in pointers) == _sparse_step._CSR_KERNELS
