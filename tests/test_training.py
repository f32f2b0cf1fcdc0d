import re

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import nn
from torch.utils.data import TensorDataset

from sk_eqsae._training import ShuffledBatches, resolve_device, seeded, train


class SquaredError(nn.Module):
    def forward(self, output, target):
        return (output - target).square().sum(1).mean()


ROWS = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))


def curves(module, **changes):
    settings = {
        "criterion": SquaredError,
        "lr": 1e-2,
        "batch_size": 8,
        "max_epochs": 5,
        "seed": 0,
        "device": torch.device("cpu"),
    }
    return train(module, ROWS, ROWS, **(settings | changes))


def fit(module, **changes):
    return curves(module, **changes)[0]


def linear(seed=0):
    with seeded(seed):
        return nn.Linear(3, 3)


def test_batches_hold_every_row_once_in_a_new_order_each_epoch():
    batches = ShuffledBatches(TensorDataset(ROWS), batch_size=8, seed=0)
    first, second = (torch.cat([b[0] for b in batches]) for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(first.sort(0).values, ROWS.sort(0).values)
    assert torch.equal(second.sort(0).values, ROWS.sort(0).values)


def test_training_equals_a_plain_torch_loop():
    plain, trained = linear(), linear()
    optimizer = torch.optim.Adam(plain.parameters(), lr=1e-2)
    batches = ShuffledBatches(TensorDataset(ROWS, ROWS), batch_size=8, seed=0)
    for _ in range(5):
        for inputs, target in batches:
            optimizer.zero_grad()
            (plain(inputs) - target).square().sum(1).mean().backward()
            optimizer.step()
    fit(trained)
    torch.testing.assert_close(plain.weight, trained.weight, rtol=0, atol=1e-6)


def test_loss_curve_is_the_mean_over_rows_of_each_epoch():
    frozen = linear()
    expected = (frozen(ROWS) - ROWS).square().sum(1).mean().item()
    assert fit(frozen, lr=1e-12) == pytest.approx([expected] * 5, rel=1e-5)


def test_a_squared_error_is_recorded_beside_the_loss():
    class Halved(nn.Linear):
        def loss(self, inputs, target):
            loss = (self(inputs) - target).square().sum(1).mean()
            self.squared_error = loss.detach() / 2
            return loss

    losses, errors = curves(Halved(3, 3))
    np.testing.assert_allclose(errors, losses / 2, rtol=1e-6)


def test_learning_rate_falls_linearly_to_zero_over_the_last_share_of_the_steps():
    rates = []

    class Spy(nn.Linear):
        def after_step(self):
            rates.append((self.weight.detach() - self.before).abs().max().item())
            self.before = self.weight.detach().clone()

    module = Spy(3, 3)
    module.before = module.weight.detach().clone()
    train(
        module,
        torch.ones(100, 3),
        torch.full((100, 3), 1e6),  # far away: Adam's steps equal the learning rate
        criterion=SquaredError,
        lr=1e-2,
        lr_decay=0.5,
        batch_size=10,
        max_epochs=2,
        seed=0,
        device=torch.device("cpu"),
    )
    expected = [1e-2] * 11 + [1e-2 * (20 - step) / 10 for step in range(11, 20)]
    assert rates == pytest.approx(expected, rel=1e-2)


def test_module_is_called_between_gradients_and_step():
    class Still(nn.Linear):
        def before_step(self):
            for parameter in self.parameters():
                assert parameter.grad.abs().sum() > 0
                parameter.grad.zero_()

    module = Still(3, 3)
    before = module.weight.detach().clone()
    fit(module)
    assert torch.equal(module.weight, before)


class TwoModels(nn.Module):
    """Two numbers that should become the mean of the rows; each is a run."""

    def __init__(self):
        super().__init__()
        self.runs = nn.ModuleList(
            nn.ParameterList([nn.Parameter(torch.zeros(3))]) for _ in range(2)
        )

    def loss(self, inputs, target):
        errors = [target - run[0] for run in self.runs]
        return torch.stack([error.square().sum(1).mean() for error in errors])


def test_models_trained_at_once_have_their_own_rates_and_losses():
    module = TwoModels()
    loss_curve = fit(module, lr=[1e-2, 1e-12], batch_size=50)
    assert loss_curve.shape == (5, 2)
    assert loss_curve[0] == pytest.approx([ROWS.square().sum(1).mean().item()] * 2)
    assert loss_curve[-1, 0] < loss_curve[0, 0]
    assert loss_curve[-1, 1] == pytest.approx(loss_curve[0, 1])


def test_diverging_fit_names_the_learning_rate():
    with pytest.raises(ValueError, match=re.escape("diverged: the loss is")) as error:
        fit(linear(), lr=1e30)
    assert "lr=1e+30" in str(error.value)


def test_interrupt_keeps_the_epochs_done_and_says_so():
    class Interrupted(nn.Linear):
        steps = 0

        def after_step(self):
            self.steps += 1
            if self.steps == 16:  # in the third epoch of 7 batches
                raise KeyboardInterrupt

    with pytest.warns(ConvergenceWarning, match="after 2 of 5 epochs"):
        loss_curve = fit(Interrupted(3, 3))
    assert len(loss_curve) == 2
    early = Interrupted(3, 3)
    early.steps = 14
    with pytest.warns(ConvergenceWarning, match="after 0 of 5 epochs"):
        assert curves(early).shape == (2, 0)


def test_progress_bar_counts_epochs(capsys):
    fit(linear(), verbose=1)
    assert "5/5" in capsys.readouterr().err


def test_seeded_gives_the_same_draws_and_leaves_the_global_state():
    before = torch.get_rng_state()
    with seeded(3):
        first = torch.rand(4)
    with seeded(3):
        second = torch.rand(4)
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)


def test_same_seed_same_weights_to_the_bit():
    one, two, other = linear(), linear(), linear()
    fit(one)
    fit(two)
    fit(other, seed=1)
    assert torch.equal(one.weight, two.weight)
    assert not torch.equal(one.weight, other.weight)


def test_training_mode_is_set():
    class Recorder(nn.Linear):
        def forward(self, inputs):
            self.seen = self.training
            return super().forward(inputs)

    module = Recorder(3, 3).eval()
    fit(module)
    assert module.seen


def test_auto_device_is_a_gpu_only_where_there_is_one():
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert resolve_device("auto").type == expected
    assert resolve_device("cpu").type == "cpu"


def test_loss_curve_is_an_array():
    assert isinstance(fit(linear()), np.ndarray)
