import pytest
import torch

from sk_eqsae.sae._code import TopK
from sk_eqsae.sae._network import DenseNetwork

ROWS = torch.randn(10, 6, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=[None, 5], ids=["linear", "two-layer"])
def network(request):
    return DenseNetwork(6, 20, request.param, seed=0)


def test_arrays_make_the_same_network_again(network):
    *arrays, components, intercept = network.to_arrays()
    again = DenseNetwork.from_arrays(*arrays, components, intercept)
    assert torch.equal(again(ROWS, TopK(3))[0], network(ROWS, TopK(3))[0])
    assert torch.equal(again.intercept, network.intercept)


def test_weights_lie_row_by_row_in_memory(network):
    # gathering rows from a transposed view doubles the time of a training step
    again = DenseNetwork.from_arrays(*network.to_arrays())
    assert all(p.is_contiguous() for p in [*network.parameters(), *again.parameters()])


@pytest.mark.parametrize("hidden_dim", [None, 5])
def test_tied_start_is_unit_rows_and_an_encoder_like_them(hidden_dim):
    network = DenseNetwork(6, 20, hidden_dim, tied_init=True)
    torch.testing.assert_close(network.components.norm(dim=1), torch.ones(20))
    assert not network.encoder.bias.any()
    assert not network.intercept.any()
    if network.hidden is None:
        assert torch.equal(network.encoder.weight, network.components)


def test_plain_start_is_that_of_torch_linear():
    network = DenseNetwork(6, 20, seed=0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder, decoder = torch.nn.Linear(6, 20), torch.nn.Linear(20, 6)
    assert torch.equal(network.encoder.weight, encoder.weight)
    assert torch.equal(network.encoder.bias, encoder.bias)
    assert torch.equal(network.components.T, decoder.weight)
    assert torch.equal(network.intercept, decoder.bias)


def test_a_start_takes_nothing_from_the_generator_that_threads_share():
    before = torch.get_rng_state()
    DenseNetwork(6, 20, 5, tied_init=True)
    assert torch.equal(torch.get_rng_state(), before)
