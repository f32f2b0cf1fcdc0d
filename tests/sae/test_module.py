import pytest
import torch

from sk_eqsae._training import seeded
from sk_eqsae.sae._module import SAEModule
from sk_eqsae.sae._selection import TopK

ROWS = torch.randn(10, 6, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=[None, 5], ids=["linear", "two-layer"])
def module(request):
    with seeded(0):
        return SAEModule(6, 20, request.param)


def test_arrays_make_the_same_module_again(module):
    *arrays, components, intercept = module.to_arrays()
    again = SAEModule.from_arrays(*arrays, components, intercept)
    assert torch.equal(again(ROWS, TopK(3)), module(ROWS, TopK(3)))
    assert torch.equal(again.intercept, module.intercept)


def test_weights_lie_row_by_row_in_memory(module):
    # gathering rows from a transposed view doubles the time of a training step
    again = SAEModule.from_arrays(*module.to_arrays())
    assert all(p.is_contiguous() for p in [*module.parameters(), *again.parameters()])


def test_tied_start_is_unit_rows_and_an_encoder_like_them(module):
    module.initialize_tied()
    torch.testing.assert_close(module.components.norm(dim=1), torch.ones(20))
    assert not module.encoder.bias.any()
    assert not module.intercept.any()
    if module.hidden is None:
        assert torch.equal(module.encoder.weight, module.components)


def test_plain_start_is_that_of_torch_linear():
    with seeded(0):
        module = SAEModule(6, 20)
    with seeded(0):
        other = torch.nn.Linear(6, 20), torch.nn.Linear(20, 6)
    assert torch.equal(module.encoder.weight, other[0].weight)
    assert torch.equal(module.components.T, other[1].weight)
