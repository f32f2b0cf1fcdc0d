"""extract_orbits: any model, any layer, any action, nothing left behind."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from sk_eqsae.activations import extract_orbits
from sk_eqsae.groups import (
    AxisRotation,
    CyclicGroup,
    CyclicShift,
    ImageFlip,
    ImageRotation,
    ProductGroup,
)

SHIFT = CyclicShift(axis=-1, order=3)


class Net(nn.Module):
    """A small model with the habits that make hooks go wrong."""

    def __init__(self, batch_norm=False):
        super().__init__()
        self.first = nn.Linear(6, 4)
        self.relu = nn.ReLU(inplace=True)
        self.body = nn.Sequential(nn.Linear(4, 5), nn.Dropout(0.5))
        self.norm = nn.BatchNorm1d(5) if batch_norm else nn.Identity()
        self.unused = nn.Linear(2, 2)
        self.shared = nn.Linear(5, 5)
        self.recurrent = nn.LSTM(5, 3, batch_first=True)

    def forward(self, x):
        x = self.norm(self.body(self.relu(self.first(x))))
        x = self.shared(self.shared(x))
        return self.recurrent(x)[0].mean()


@pytest.fixture
def net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Net()


@pytest.fixture
def inputs():
    return np.random.RandomState(0).randn(7, 6).astype(np.float32)


def expected_rows(layer, action, inputs, order):
    """Row by row, in the order that the documentation promises."""
    with torch.no_grad():
        rows = [
            layer(torch.as_tensor(action(inputs[i : i + 1], p)))[0].flatten().numpy()
            for i in range(len(inputs))
            for p in range(order)
        ]
    return np.array(rows)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 256])
def test_rows_come_orbit_by_orbit_with_powers_ascending(net, inputs, batch_size):
    orbits = extract_orbits(
        net, inputs, layer="first", action=SHIFT, batch_size=batch_size
    )
    expected = expected_rows(net.first, SHIFT, inputs, 3)
    assert_allclose(orbits.X, expected, rtol=1e-5, atol=1e-6)
    assert_array_equal(orbits.groups, np.repeat(np.arange(7), 3))
    assert_array_equal(orbits.power, np.tile(np.arange(3), 7))
    assert orbits.order == 3


def test_a_later_in_place_layer_cannot_change_the_output(net, inputs):
    orbits = extract_orbits(net, inputs, layer="first", action=SHIFT)
    assert (orbits.X < 0).any()


def test_dotted_names_reach_inner_layers(net, inputs):
    orbits = extract_orbits(net, inputs, layer="body.0", action=SHIFT)
    inner = nn.Sequential(net.first, nn.ReLU(), net.body[0])
    assert_allclose(
        orbits.X, expected_rows(inner, SHIFT, inputs, 3), rtol=1e-5, atol=1e-6
    )


def test_outputs_with_more_axes_are_flattened():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    images = np.random.RandomState(0).rand(4, 1, 5, 5)
    orbits = extract_orbits(model, images, layer="0", action=ImageRotation(4))
    assert orbits.X.shape == (16, 2 * 3 * 3)


def test_the_empty_name_is_the_model_itself():
    model = nn.Sequential(nn.Linear(6, 2))
    inputs = np.ones((3, 6))
    whole = extract_orbits(model, inputs, layer="", action=SHIFT)
    last = extract_orbits(model, inputs, layer="0", action=SHIFT)
    assert_array_equal(whole.X, last.X)


@pytest.mark.parametrize(
    ("action", "shape", "order"),
    [
        (ImageRotation(4), (3, 1, 4, 4), 4),
        (ImageRotation(3), (3, 1, 4, 4), 3),
        (ImageFlip(), (3, 1, 4, 4), 2),
        (CyclicShift(2, 2), (3, 1, 4, 4), 2),
        (AxisRotation(2, 5), (3, 8, 3), 5),
    ],
)
@pytest.mark.parametrize("as_tensor", [False, True])
def test_every_action(action, shape, order, as_tensor):
    inputs = np.random.RandomState(0).randn(*shape)
    model = nn.Sequential(nn.Flatten())
    orbits = extract_orbits(
        model,
        torch.as_tensor(inputs) if as_tensor else inputs,
        layer="0",
        action=action,
    )
    expected = expected_rows(model, action, inputs, order)
    assert_allclose(orbits.X, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", [np.ndarray, torch.Tensor])
def test_a_callable_gets_inputs_of_the_kind_that_was_given(net, inputs, kind):
    seen = []

    def reverse(batch, power):
        seen.append(type(batch))
        if power == 0:
            return batch
        return batch[:, ::-1] if kind is np.ndarray else batch.flip(1)

    given = inputs if kind is np.ndarray else torch.as_tensor(inputs)
    orbits = extract_orbits(net, given, layer="first", action=reverse, symmetry=2)
    expected = extract_orbits(net, inputs, layer="first", action=ImageFlip())
    assert set(seen) == {kind}
    assert_array_equal(orbits.X, expected.X)


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_floating_inputs_are_cast_to_the_model(inputs, kind):
    for dtype in (torch.float32, torch.float64):
        model = nn.Sequential(nn.Linear(6, 2)).to(dtype)
        orbits = extract_orbits(
            model, kind(inputs.astype(np.float64)), layer="0", action=SHIFT
        )
        assert orbits.X.dtype == str(dtype).removeprefix("torch.")


def test_half_precision_outputs_become_float32(inputs):
    model = nn.Sequential(nn.Linear(6, 2)).to(torch.bfloat16)
    orbits = extract_orbits(model, inputs, layer="0", action=SHIFT)
    assert orbits.X.dtype == np.float32


def test_token_ids_stay_integers():
    model = nn.Sequential(nn.Embedding(10, 4), nn.Flatten())
    tokens = np.arange(12).reshape(2, 6) % 10
    orbits = extract_orbits(model, tokens, layer="0", action=SHIFT)
    assert orbits.X.shape == (6, 24)


def test_read_only_inputs(net, inputs):
    inputs.flags.writeable = False
    extract_orbits(net, inputs, layer="first", action=SHIFT)


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_a_model_that_works_in_place_cannot_change_the_inputs(inputs, kind):
    before = inputs.copy()
    given = kind(inputs)
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(6, 2))
    action = lambda batch, power: batch  # noqa: E731
    extract_orbits(model, given, layer="1", action=action, symmetry=2)
    assert_array_equal(given, before)


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_an_action_that_works_in_place_changes_no_inputs_and_no_other_power(
    net, inputs, kind
):
    def negate_in_place(batch, power):
        batch *= (-1) ** power
        return batch

    expected = extract_orbits(
        net, kind(inputs), layer="first", action=lambda x, p: x * (-1) ** p, symmetry=2
    )
    before = inputs.copy()
    orbits = extract_orbits(
        net, kind(inputs), layer="first", action=negate_in_place, symmetry=2
    )
    assert_array_equal(inputs, before)
    assert_array_equal(orbits.X, expected.X)


class Failing(nn.Module):
    def forward(self, x):
        raise RuntimeError("out of luck")


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_left_as_it_was_found(inputs, fails):
    model = nn.Sequential(Net(batch_norm=True), Failing() if fails else nn.Identity())
    model.train()
    model[0].body.eval()  # a mixture, as when part of a model is frozen
    modes = {name: m.training for name, m in model.named_modules()}
    state = {k: v.clone() for k, v in model.state_dict().items()}
    rng = torch.get_rng_state()

    with pytest.raises(RuntimeError) if fails else nullcontext():
        extract_orbits(model, inputs, layer="0.first", action=SHIFT)

    assert {name: m.training for name, m in model.named_modules()} == modes
    assert not any(m._forward_hooks for m in model.modules())
    for name, value in model.state_dict().items():
        assert_array_equal(value, state[name])
    assert torch.is_grad_enabled()
    assert_array_equal(torch.get_rng_state(), rng)


def test_dropout_is_off(net, inputs):
    net.train()
    first, again = (
        extract_orbits(net, inputs, layer="body", action=SHIFT).X for _ in range(2)
    )
    assert_array_equal(first, again)
    assert net.training


def test_an_unknown_layer_lists_the_known_ones(net, inputs):
    with pytest.raises(ValueError, match="layer='encoder' does not exist") as error:
        extract_orbits(net, inputs, layer="encoder", action=SHIFT)
    for name, _ in list(net.named_modules())[1:]:
        assert repr(name) in str(error.value)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("unused", "layer='unused' was called 0 times"),
        ("shared", "layer='shared' was called 2 times"),
        ("", r"one row per input: for 7 inputs found shape \(\)"),
    ],
)
def test_layers_that_cannot_be_used(net, inputs, layer, message):
    with pytest.raises(ValueError, match=message):
        extract_orbits(net, inputs, layer=layer, action=SHIFT)


def test_a_layer_with_another_number_of_rows(inputs):
    model = nn.Sequential(nn.Flatten(0), nn.Linear(42, 2))
    with pytest.raises(ValueError, match=r"for 7 inputs found shape \(42,\)"):
        extract_orbits(model, inputs, layer="0", action=SHIFT)


def test_a_plain_callable_needs_an_order(net, inputs):
    with pytest.raises(ValueError, match="symmetry is needed"):
        extract_orbits(net, inputs, layer="first", action=lambda x, p: x)


def test_an_order_that_contradicts_the_action(net, inputs):
    extract_orbits(net, inputs, layer="first", action=SHIFT, symmetry=3)
    with pytest.raises(ValueError, match=r"symmetry=4 contradicts .*3"):
        extract_orbits(net, inputs, layer="first", action=SHIFT, symmetry=4)


@pytest.mark.parametrize("order", [0, -2, 1.5])
def test_an_order_that_is_no_order(net, inputs, order):
    with pytest.raises(ValueError, match="symmetry must be the order of"):
        extract_orbits(
            net, inputs, layer="first", action=lambda x, p: x, symmetry=order
        )


@pytest.mark.parametrize("result", [None, [[1.0] * 6] * 7, np.zeros((2, 6))])
def test_an_action_that_returns_something_else(net, inputs, result):
    with pytest.raises(ValueError, match=r"action must return .* given, 4"):
        extract_orbits(
            net, inputs, layer="first", action=lambda x, p: result, symmetry=2
        )


def test_non_finite_activations_name_the_input(net, inputs):
    inputs[4, 0] = np.nan
    with pytest.raises(ValueError, match="3 of 21 rows of a batch, first for input 4"):
        extract_orbits(net, inputs, layer="first", action=SHIFT)


def test_empty_inputs(net):
    with pytest.raises(ValueError, match="at least one row"):
        extract_orbits(net, np.zeros((0, 6)), layer="first", action=SHIFT)


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"model": "resnet"}, "model must be a torch.nn.Module"),
        ({"action": 4}, "action must be callable"),
    ],
)
def test_wrong_types(net, inputs, replaced, message):
    arguments = {"model": net, "inputs": inputs, "layer": "first", "action": SHIFT}
    with pytest.raises(TypeError, match=message):
        extract_orbits(**(arguments | replaced))


def reverse(batch, power):
    return batch[:, ::-1] if power else batch


@pytest.mark.parametrize(
    ("action", "symmetry"),
    [
        (lambda x, p: np.roll(x, p, 1), 3),  # it is one of order 6
        (lambda x, p: np.roll(x, p, 1), 12 + 1),
        (reverse, 3),
        (lambda x, p: x * 2**p, 4),
        (lambda x, p: x @ rotation(72 * p).T.astype(x.dtype), 4),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_an_action_that_does_not_come_back_is_refused(action, symmetry, dtype):
    inputs = np.arange(1, 37).reshape(6, 6).astype(dtype)
    with pytest.raises(ValueError, match=f"applied {symmetry} times, does not give"):
        extract_orbits(
            nn.Identity(), inputs, layer="", action=action, symmetry=symmetry
        )


def rotation(degrees):
    """Matrix that turns the first two of six coordinates."""
    matrix, angle = np.eye(6), np.deg2rad(degrees)
    matrix[:2, :2] = [
        [np.cos(angle), -np.sin(angle)],
        [np.sin(angle), np.cos(angle)],
    ]
    return matrix


@pytest.mark.parametrize("order", [5, 24])
@pytest.mark.parametrize("kind", ["noise", "discs", "nothing"])
def test_an_action_that_interpolates_is_taken(order, kind):
    x, y = np.mgrid[-1:1:16j, -1:1:16j]
    images = {
        "noise": np.random.RandomState(0).rand(6, 1, 16, 16),
        "discs": np.stack([[x**2 + y**2 < r] for r in (0.2, 0.5, 0.9)]).astype(float),
        "nothing": np.zeros((3, 1, 16, 16)),
    }[kind]
    turn = ImageRotation(order)
    by_user = extract_orbits(
        nn.Flatten(), images, layer="", action=turn.__call__, symmetry=order
    )
    assert_array_equal(
        by_user.X, extract_orbits(nn.Flatten(), images, layer="", action=turn).X
    )


def test_each_generator_has_to_come_back():
    grid = np.arange(24.0).reshape(2, 3, 4)

    def shift(x, powers):
        return np.roll(x, powers, (1, 2))

    group = ProductGroup(CyclicGroup(3), CyclicGroup(4))
    extract_orbits(nn.Identity(), grid, layer="", action=shift, symmetry=group)
    group = ProductGroup(CyclicGroup(3), CyclicGroup(3))
    with pytest.raises(ValueError, match=r"power \(0, 1\), applied 3 times"):
        extract_orbits(nn.Identity(), grid, layer="", action=shift, symmetry=group)


class SequenceFirst(nn.Module):
    """Puts out (sequence, batch, features), of inputs (batch, sequence)."""

    def __init__(self, width):
        super().__init__()
        self.embed, self.tokens = nn.Linear(1, width), nn.Identity()

    def forward(self, x):
        return self.tokens(self.embed(x[..., None]).transpose(0, 1)).mean(0)


@pytest.mark.parametrize("n_inputs", [6, 14])  # of a sequence of 6
@pytest.mark.parametrize("alike", [False, True])
def test_a_first_axis_that_is_the_sequence_is_refused(n_inputs, alike):
    inputs = np.random.RandomState(0).randn(n_inputs, 6)
    inputs = np.repeat(inputs[:1], n_inputs, axis=0) if alike else inputs
    arguments = {"inputs": inputs, "action": SHIFT, "batch_size": 6}
    model = SequenceFirst(3).double()
    with pytest.raises(ValueError, match="depends on the other inputs of the batch"):
        extract_orbits(model, **arguments, layer="tokens")
    assert len(extract_orbits(model, **arguments, layer="").X) == 3 * n_inputs


def test_a_layer_that_mixes_the_inputs_of_a_batch(inputs):
    class Centred(nn.Module):
        def forward(self, x):
            return x - x.mean(0)

    with pytest.raises(ValueError, match=r"on purpose, set batch_size=1"):
        extract_orbits(Centred(), inputs, layer="", action=SHIFT)
    alone = extract_orbits(Centred(), inputs, layer="", action=SHIFT, batch_size=1)
    assert not alone.X.any()


def test_models_that_take_no_single_input_work(inputs):
    class Squeezed(nn.Module):
        def forward(self, x):
            return x[:, None].squeeze()  # of one input, without its first axis

    class OfSeven(nn.Module):
        def forward(self, x):
            return x.reshape(7, 2, 3).flatten(1)

    for model in (Squeezed(), OfSeven()):
        assert extract_orbits(model, inputs, layer="", action=SHIFT).X.shape == (21, 6)


def test_a_module_with_two_names_has_both(net, inputs):
    net.other_name = net.first
    one, two = (
        extract_orbits(net, inputs, layer=layer, action=SHIFT).X
        for layer in ("first", "other_name")
    )
    assert_array_equal(one, two)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("how", ["model", "in place", "part", "forward"])
def test_a_compiled_model_that_has_run(inputs, how):
    model = nn.Sequential(nn.Linear(6, 4), nn.Sequential(nn.Linear(4, 3), nn.ReLU()))
    arguments = {"inputs": inputs, "action": SHIFT, "layer": "1.0"}
    expected = extract_orbits(model, **arguments).X
    compiled = model
    if how == "model":
        compiled = torch.compile(model, backend="eager")
    elif how == "in place":
        model.compile(backend="eager")
    elif how == "part":
        model[1] = torch.compile(model[1], backend="eager")
    else:
        model.forward = torch.compile(model.forward, backend="eager")
    with torch.no_grad():
        compiled.eval()(torch.as_tensor(inputs))
    assert_array_equal(extract_orbits(compiled, **arguments).X, expected)


def in_threads(*functions):
    with ThreadPoolExecutor(len(functions)) as pool:
        return [future.result() for future in [pool.submit(f) for f in functions]]


@pytest.mark.parametrize("whole", [True, False])
def test_threads_may_extract_from_one_model(whole):
    """The first ends while the second, perhaps of a part of it, is between passes."""
    model = nn.Sequential(nn.Linear(6, 32), nn.Dropout(0.5)).train()
    other = model if whole else nn.Sequential(model[0], model[1])
    inputs = np.random.RandomState(0).randn(5, 6).astype(np.float32)
    arguments = {"inputs": inputs, "layer": "1", "symmetry": 2}
    expected = extract_orbits(model, action=reverse, **arguments).X
    first_in, second_in, first_out = (threading.Event() for _ in range(3))

    def in_first(batch, power):
        first_in.set()
        assert second_in.wait(60)
        return reverse(batch, power)

    def in_second(batch, power):
        second_in.set()
        assert first_out.wait(60)
        return reverse(batch, power)

    def first():
        try:
            return extract_orbits(model, action=in_first, **arguments).X
        finally:
            first_out.set()

    def second():
        assert first_in.wait(60)
        return extract_orbits(other, action=in_second, **arguments).X

    for X in in_threads(first, second):
        assert_array_equal(X, expected)
    assert all(module.training for module in model.modules())


def test_passes_of_other_threads_are_not_counted(net, inputs):
    expected = extract_orbits(net, inputs, layer="first", action=SHIFT).X
    is_over = threading.Event()

    def run():
        while not is_over.is_set():
            with torch.no_grad():
                net.first(torch.zeros(2, 6))

    def extract():
        try:
            return [
                extract_orbits(net, inputs, layer="first", action=SHIFT).X
                for _ in range(30)
            ]
        finally:
            is_over.set()

    for X in in_threads(extract, run)[0]:
        assert_array_equal(X, expected)


@contextmanager
def default_device(device):
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


class MakesTensors(nn.Linear):
    def forward(self, x):
        return super().forward(x) + torch.arange(4)


@pytest.mark.parametrize(
    "state",
    [
        torch.inference_mode,
        torch.enable_grad,
        lambda: torch.autocast("cpu", dtype=torch.bfloat16),
        lambda: default_device("meta"),
    ],
    ids=["inference", "grad", "autocast", "device"],
)
@pytest.mark.parametrize("as_tensor", [False, True])
def test_the_state_that_the_caller_has_torch_in_changes_nothing(state, as_tensor):
    images = np.random.RandomState(0).rand(4, 1, 5, 5).astype(np.float32)
    images = torch.as_tensor(images) if as_tensor else images
    model = nn.Sequential(nn.Flatten(), MakesTensors(25, 4))
    arguments = {"layer": "1", "action": ImageRotation(3)}
    expected = extract_orbits(model, images, **arguments).X
    turned = np.asarray(ImageRotation(3)(images, 1))
    with state():
        found = extract_orbits(model, images, **arguments).X
        again = ImageRotation(3)(images, 1)
    assert_array_equal(found, expected)
    assert_array_equal(np.asarray(again), turned)


@pytest.mark.parametrize("masked", [0, np.ma.nomask])
def test_masked_inputs_are_missing_values(net, inputs, masked):
    given = np.ma.masked_array(inputs)
    if masked is np.ma.nomask:
        found = extract_orbits(net, given, layer="first", action=SHIFT)
        expected = extract_orbits(net, inputs, layer="first", action=SHIFT)
        assert_array_equal(found.X, expected.X)
        return
    given[3, 2] = np.ma.masked
    with pytest.raises(ValueError, match=r"inputs has missing values .* rows 3"):
        extract_orbits(net, given, layer="first", action=SHIFT)
