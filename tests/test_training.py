import re
import warnings

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import nn
from torch.utils.data import TensorDataset

from sk_eqsae._training import ShuffledBatches, Trainable, resolve_device, train

ROWS = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
CPU = torch.device("cpu")


class Linear(Trainable):
    """A linear layer; half of the loss is recorded beside it."""

    def __init__(self, seed=0):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.layer = nn.Linear(3, 3)

    def loss(self, inputs, target):
        loss = (self.layer(inputs) - target).square().sum(1).mean()
        return torch.stack([loss, loss.detach() / 2])


def curves(module, **changes):
    settings = {
        "dataset": TensorDataset(ROWS),
        "lr": 1e-2,
        "batch_size": 8,
        "max_epochs": 5,
        "seed": 0,
        "device": CPU,
    }
    return train(module, **(settings | changes))


def fit(module, **changes):
    return curves(module, **changes)[0]


def batches_of(*tensors, batch_size=8, seed=(0,)):
    return ShuffledBatches(TensorDataset(*tensors), batch_size, seed, CPU)


def test_batches_hold_every_row_once_in_a_new_order_each_epoch():
    batches = batches_of(ROWS)
    first, second = (
        torch.cat([b[0] for b in batches.beginning_at(0)]) for _ in range(2)
    )
    assert len(batches) == 7
    assert not torch.equal(first, second)
    assert torch.equal(first.sort(0).values, ROWS.sort(0).values)
    assert torch.equal(second.sort(0).values, ROWS.sort(0).values)


def test_batches_that_were_seen_are_left_out():
    whole, rest = batches_of(ROWS), batches_of(ROWS)
    expected = list(whole.beginning_at(0))[4:]
    for (ours,), (theirs,) in zip(rest.beginning_at(4), expected, strict=True):
        assert torch.equal(ours, theirs)


def test_each_of_several_seeds_has_its_own_order():
    together = batches_of(ROWS, -ROWS, seed=(3, 4)).beginning_at(0)
    alone = [batches_of(ROWS, seed=(seed,)).beginning_at(0) for seed in (3, 4)]
    for (inputs, target), *each in zip(together, *alone, strict=True):
        assert torch.equal(inputs, torch.cat([batch for (batch,) in each]))
        assert torch.equal(target, -inputs)


def test_training_equals_a_plain_torch_loop():
    plain, trained = Linear(), Linear()
    optimizer = torch.optim.Adam(plain.parameters(), lr=1e-2)
    batches = batches_of(ROWS, ROWS)
    for _ in range(5):
        for inputs, target in batches.beginning_at(0):
            optimizer.zero_grad()
            plain.loss(inputs, target)[0].backward()
            optimizer.step()
    fit(trained)
    torch.testing.assert_close(
        plain.layer.weight, trained.layer.weight, rtol=0, atol=1e-6
    )


def test_curves_are_means_over_the_rows_of_each_epoch():
    frozen = Linear()
    expected = frozen.loss(ROWS, ROWS)[0].item()
    found = curves(frozen, lr=1e-12)
    assert found.shape == (2, 5)
    np.testing.assert_allclose(found[0], expected, rtol=1e-5)
    np.testing.assert_allclose(found[1], expected / 2, rtol=1e-5)


@pytest.mark.parametrize("budget", [{"max_epochs": 2}, {"max_steps": 20}])
def test_learning_rate_falls_linearly_to_zero_over_the_last_share_of_the_steps(budget):
    rates = []

    class Spy(Linear):
        def after_step(self):
            weight = self.layer.weight.detach().clone()
            rates.append((weight - self.before).abs().max().item())
            self.before = weight

    module = Spy()
    module.before = module.layer.weight.detach().clone()
    # far away: Adam's steps equal the learning rate
    dataset = TensorDataset(torch.ones(100, 3), torch.full((100, 3), 1e6))
    budget = {"max_epochs": 99} | budget
    fit(module, dataset=dataset, lr_decay=0.5, batch_size=10, **budget)
    expected = [1e-2] * 11 + [1e-2 * (20 - step) / 10 for step in range(11, 20)]
    assert rates == pytest.approx(expected, rel=1e-2)


def test_a_budget_of_steps_may_end_inside_of_an_epoch():
    """Of 7 batches each, of which 10 are the first and three more."""
    whole, cut = Linear(), Linear()
    expected = fit(whole, max_epochs=1)
    found = fit(cut, max_steps=10)
    assert found.shape == (2,)
    assert found[0] == expected[0]
    assert not torch.equal(cut.layer.weight, whole.layer.weight)
    fit(cut := Linear(), max_steps=7)
    assert torch.equal(cut.layer.weight, whole.layer.weight)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it was not interrupted
        assert np.array_equal(fit(Linear(), max_steps=99), fit(Linear()))


def test_module_is_called_between_gradients_and_step():
    class Still(Linear):
        def before_step(self):
            for parameter in self.parameters():
                assert parameter.grad.abs().sum() > 0
                parameter.grad.zero_()

    module = Still()
    before = module.layer.weight.detach().clone()
    fit(module)
    assert torch.equal(module.layer.weight, before)


def test_gradients_are_divided_by_what_the_module_says():
    seen = []

    class Divided(Linear):
        def before_step(self):
            self.whole = self.layer.weight.grad.clone()
            return torch.tensor(4.0)

        def after_step(self):
            seen.append((self.whole, self.layer.weight.grad.clone()))

    fit(Divided())
    assert seen
    for whole, used in seen:
        torch.testing.assert_close(used, whole / 4)


class TwoNetworks(Trainable):
    """Two vectors that should become the mean of the rows."""

    def __init__(self):
        super().__init__()
        self.runs = nn.ModuleList(
            nn.ParameterList([nn.Parameter(torch.zeros(3))]) for _ in range(2)
        )

    def loss(self, inputs, target):
        errors = target.view(2, -1, 3) - torch.stack([n[0] for n in self.runs])[:, None]
        losses = errors.square().sum(2).mean(1)
        return torch.stack([losses, losses.detach()])


def test_networks_trained_at_once_have_their_own_rates_and_losses():
    two = {"lr": [1e-2, 1e-12], "seed": [0, 1], "batch_size": 50}
    loss_curve = fit(TwoNetworks(), **two)
    assert loss_curve.shape == (5, 2)
    assert loss_curve[0] == pytest.approx([ROWS.square().sum(1).mean().item()] * 2)
    assert loss_curve[-1, 0] < loss_curve[0, 0]
    assert loss_curve[-1, 1] == pytest.approx(loss_curve[0, 1])


def test_training_goes_on_while_one_network_is_finite():
    two = {"seed": [0, 1], "batch_size": 50}
    loss_curve = fit(TwoNetworks(), lr=[1e30, 1e-2], **two)
    assert not np.isfinite(loss_curve[1:, 0]).any()
    assert np.isfinite(loss_curve[:, 1]).all()
    with pytest.raises(ValueError, match=r"diverged: the loss is .*lr=1e\+30"):
        fit(TwoNetworks(), lr=[1e30, 1e30], **two)


def test_diverging_fit_names_the_learning_rate():
    with pytest.raises(ValueError, match=re.escape("diverged: the loss is")) as error:
        fit(Linear(), lr=1e30)
    assert "lr=1e+30" in str(error.value)


def test_interrupt_keeps_the_epochs_done_and_says_so():
    class Interrupted(Linear):
        steps = 0

        def after_step(self):
            self.steps += 1
            if self.steps == 16:  # in the third epoch of 7 batches
                raise KeyboardInterrupt

    with pytest.warns(ConvergenceWarning, match="after 2 of 5 epochs") as caught:
        loss_curve = fit(Interrupted())
    assert [warning.filename for warning in caught] == [__file__]
    assert len(loss_curve) == 2
    early = Interrupted()
    early.steps = 14
    with pytest.warns(ConvergenceWarning, match="after 0 of 5 epochs"):
        assert curves(early).shape == (2, 0)


def test_memory_goes_on_with_adam():
    memory = {}
    whole, parts = Linear(), Linear()
    fit(whole, batch_size=50, max_epochs=2)
    for _ in range(2):
        fit(parts, batch_size=50, max_epochs=1, memory=memory)
    torch.testing.assert_close(
        whole.layer.weight, parts.layer.weight, rtol=0, atol=1e-7
    )
    assert memory["optimizer.0.step"] == 2


def test_progress_bar_counts_steps_and_epochs(capsys):
    fit(Linear(), verbose=1, description="layer")
    shown = capsys.readouterr().err
    assert "35/35" in shown
    assert "epoch=5" in shown
    assert "layer" in shown


def test_same_seed_same_weights_to_the_bit():
    one, two, other = Linear(), Linear(), Linear()
    fit(one)
    fit(two)
    fit(other, seed=1)
    assert torch.equal(one.layer.weight, two.layer.weight)
    assert not torch.equal(one.layer.weight, other.layer.weight)


@pytest.mark.parametrize(("allowed", "pays_from"), [(2, 2**26), (2, 0), (1, 0)])
def test_small_steps_use_one_thread_and_others_what_is_allowed(
    monkeypatch, allowed, pays_from
):
    monkeypatch.setattr("sk_eqsae._threads._SHARED_FROM", pays_from)
    found = set()

    class Spy(Linear):
        def after_step(self):
            found.add(torch.get_num_threads())
            raise KeyError

    before = torch.get_num_threads()
    torch.set_num_threads(allowed)
    try:
        with pytest.raises(KeyError):
            fit(Spy())
        assert torch.get_num_threads() == allowed
    finally:
        torch.set_num_threads(before)
    assert found == {1 if pays_from else allowed}


def test_training_mode_is_set():
    class Recorder(Linear):
        def loss(self, inputs, target):
            self.seen = self.training
            return super().loss(inputs, target)

    module = Recorder().eval()
    fit(module)
    assert module.seen


def test_auto_device_is_a_gpu_only_where_there_is_one():
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert resolve_device("auto").type == expected
    assert resolve_device("cpu").type == "cpu"
