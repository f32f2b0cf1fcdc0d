"""The loss, clause by clause."""

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from sk_eqsae._training import ShuffledBatches
from sk_eqsae.sae import Recipe, _sparse_step
from sk_eqsae.sae._code import BatchTopK, TopK
from sk_eqsae.sae._network import DenseNetwork
from sk_eqsae.sae._objective import Objective

ROWS = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))


def objective(select=None, prefixes=(16,), target_shift=None, **recipe):
    network = DenseNetwork(6, 16, seed=0)
    network.intercept.data += 1
    return Objective(
        network,
        select or TopK(8),
        Recipe(**({"aux_k": 2} | recipe)),
        n_rows=len(ROWS),
        prefixes=np.array(prefixes),
        target_shift=target_shift,
    )


def with_dead_latents(*latents, **recipe):
    """An objective in which these latents never win."""
    made = objective(**recipe)
    with torch.no_grad():
        made.network.encoder.bias[:] = 3.0
        made.network.encoder.bias[list(latents)] = -1.0
        made.network.encoder.weight[list(latents)] *= 0.1
    made.learn(ROWS, ROWS)
    with torch.no_grad():  # about zero: they can be revived, but still lose
        made.network.encoder.bias[list(latents)] = 0.05
    return made


def reconstruction(made):
    sums, *_ = made.network(ROWS, TopK(8))
    return (sums + made.network.intercept).detach()


@pytest.mark.parametrize("kernels", [True, False])
def test_memory_that_steps_leave_does_not_grow(kernels, monkeypatch):
    kernels = kernels and _sparse_step._CSR_KERNELS
    monkeypatch.setattr(_sparse_step, "_CSR_KERNELS", kernels)
    made = objective()
    left = []
    for _ in range(6):
        made.zero_grad()
        made.learn(ROWS, ROWS)
        left.append(sum(map(len, made.network.spare.values())))
    assert left[1:] == left[1:2] * 5


def test_latent_that_was_not_active_for_an_epoch_is_dead():
    assert with_dead_latents(2, 5).dead[0].tolist() == [2, 5]


def test_latent_with_value_zero_is_not_active():
    made = objective(select=TopK(16))
    with torch.no_grad():
        made.network.encoder.bias[4] = -100.0  # kept by TopK, but the ReLU makes it 0
    made.learn(ROWS, ROWS)
    assert made.dead[0].tolist() == [4]


@pytest.mark.parametrize("n_batches", [1, 4, 10])
def test_time_until_a_latent_is_dead_scales_with_the_data(n_batches):
    made = objective()
    with torch.no_grad():
        made.network.encoder.bias[4] = -100.0
    batches = ROWS.split(len(ROWS) // n_batches)
    for batch in batches[:-1]:
        made.learn(batch, batch)
        assert len(made.dead[0]) == 0
    made.learn(batches[-1], batches[-1])
    assert 4 in made.dead[0].tolist()


def test_latent_comes_back_to_life_when_it_is_active():
    made = with_dead_latents(2)
    with torch.no_grad():
        made.network.encoder.bias[2] = 100.0
    for _ in range(2):
        made.learn(ROWS, ROWS)
    assert made.dead[0].tolist() == []


def test_dead_latents_rebuild_what_the_others_leave_without_the_intercept():
    made = with_dead_latents(2, 5, aux_weight=0.5)
    error = ROWS - reconstruction(made)
    encoder, D = made.network.encoder, made.network.components
    dead = (encoder(ROWS)[:, [2, 5]]).relu() @ D[[2, 5]]
    squared_error = error.square().sum(1).mean()
    expected = squared_error + 0.5 * ((error - dead).square().sum(1).mean())
    torch.testing.assert_close(made.learn(ROWS, ROWS)[0], expected)


def test_gradient_of_the_auxiliary_loss_reaches_encoder_and_dictionary_of_the_dead():
    made = with_dead_latents(2, 5)
    made.learn(ROWS, ROWS)
    encoder = made.network.encoder
    for gradient in (
        encoder.weight.grad,
        encoder.bias.grad,
        made.network.components.grad,
    ):
        assert gradient[[2, 5]].abs().sum() > 0


def test_gradient_of_the_auxiliary_loss_leaves_the_living_alone():
    made, plain = with_dead_latents(2, 5), with_dead_latents(2, 5, aux_weight=0)
    for each in (made, plain):
        each.learn(ROWS, ROWS)
    alive = [i for i in range(16) if i not in (2, 5)]
    ours, theirs = (each.network for each in (made, plain))
    torch.testing.assert_close(
        ours.components.grad[alive], theirs.components.grad[alive]
    )
    torch.testing.assert_close(ours.intercept.grad, theirs.intercept.grad)


def test_loss_without_extras_is_the_squared_error_summed_over_features():
    made = objective(aux_weight=0)
    expected = (ROWS - reconstruction(made)).square().sum(1).mean()
    torch.testing.assert_close(made.learn(ROWS, ROWS)[0], expected)


@pytest.mark.parametrize("select", [TopK(8), BatchTopK(8)], ids=["topk", "batch_topk"])
def test_loss_of_prefixes_is_the_mean_over_them(select):
    made = objective(select=select, prefixes=(2, 7, 16), aux_weight=0)
    code = made.network.encode(ROWS, select)
    dense = torch.zeros(len(ROWS), 16)
    dense[code.bags, code.indices] = code.values
    errors = [
        ROWS - dense[:, :size] @ made.network.components[:size] - made.network.intercept
        for size in (2, 7, 16)
    ]
    expected = torch.stack(errors).square().sum(2).mean()
    torch.testing.assert_close(made.learn(ROWS, ROWS)[0], expected)


TARGETS = ROWS.roll(1, 0)
SHIFT = torch.linspace(-0.5, 0.5, 6)


@pytest.mark.parametrize("select", [TopK(8), BatchTopK(8)], ids=["topk", "batch_topk"])
@pytest.mark.parametrize("prefixes", [(16,), (2, 7, 16)])
def test_latents_of_the_target_have_to_rebuild_it_from_the_row(select, prefixes):
    settings = {"select": select, "prefixes": prefixes, "aux_weight": 0}
    made = objective(**settings, target_shift=SHIFT, consistency_weight=0.5)
    plain = objective(**settings)
    plain.network = network = made.network
    code = network.encode(TARGETS + SHIFT, select)
    active = torch.zeros(len(ROWS), 16)
    active[code.bags, code.indices] = 1.0
    latents = active * network.encoder(ROWS).relu()
    errors = [
        TARGETS - latents[:, :size] @ network.components[:size] - network.intercept
        for size in prefixes
    ]
    consistency = torch.stack(errors).square().sum(2).mean()
    expected = plain.learn(ROWS, TARGETS)[0] + 0.5 * consistency
    (0.5 * consistency).backward()  # on top of those of the plain loss
    gradients = [parameter.grad.clone() for parameter in network.parameters()]
    made.zero_grad()
    torch.testing.assert_close(made.learn(ROWS, TARGETS)[0], expected.detach())
    ours = [parameter.grad for parameter in network.parameters()]
    torch.testing.assert_close(ours, gradients)


def test_rows_that_are_their_own_targets_have_no_loss_of_consistency():
    made, plain = objective(consistency_weight=0.5), objective(consistency_weight=0)
    assert torch.equal(made.learn(ROWS, ROWS), plain.learn(ROWS, ROWS))


def test_recipe_decides_whether_rows_come_back_to_norm_one():
    for unit_rows in (True, False):
        made = objective(unit_rows=unit_rows)
        with torch.no_grad():
            made.network.components.mul_(3)
        before = made.network.components.detach().clone()
        made.after_step()
        norms = np.linalg.norm(made.network.components.detach(), axis=1)
        assert np.allclose(norms, 1) == unit_rows
        assert torch.equal(before, made.network.components) != unit_rows


@pytest.mark.parametrize("max_grad_norm", [0.1, 1e9, np.inf])
def test_gradients_longer_than_allowed_are_scaled_down_together(max_grad_norm):
    made = objective(max_grad_norm=max_grad_norm)
    adam = torch.optim.Adam(made.parameters(), fused=True)
    made.learn(ROWS, ROWS)
    gradients = [p.grad for p in made.network.parameters()]
    before = [gradient.clone() for gradient in gradients]
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    adam.grad_scale = made.before_step()
    adam.step()  # leaves the gradients that it has used
    for gradient, previous in zip(gradients, before, strict=True):
        torch.testing.assert_close(gradient, previous * min(1, max_grad_norm / norm))


def test_memory_of_gradients_is_kept_for_the_next_step():
    made = objective()
    places = []
    for _ in range(3):
        made.zero_grad()
        made.learn(ROWS, ROWS)
        places.append(
            {
                p.grad.data_ptr()
                for p in (made.network.encoder.weight, made.network.components)
            }
        )
    assert places[0] == places[1] == places[2]


def test_batches_of_one_tensor_are_their_own_targets():
    dataset, device = TensorDataset(ROWS), torch.device("cpu")
    batches = ShuffledBatches(dataset, batch_size=40, seed=[0], device=device)
    (batch,) = batches.beginning_at(0)
    assert len(batch) == 1
