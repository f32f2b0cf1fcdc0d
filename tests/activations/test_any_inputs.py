"""extract_orbits of inputs of any kind, and of models that take them."""

from collections import UserDict, namedtuple
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from sk_eqsae import extract_orbits
from sk_eqsae.groups import CyclicShift, ImageRotation

SHIFT = CyclicShift(axis=-1, order=3)
INPUTS = np.random.default_rng(0).normal(size=(7, 6)).astype(np.float32)
SCALES = np.arange(1, 8, dtype=np.float32)[:, None]


class Scaled(nn.Module):
    """Takes two arrays, the second with a default."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 4)

    def forward(self, x, scale=1.0, *, labels=None):
        return self.linear(x) * scale


class TakesDict(Scaled):
    def forward(self, batch):
        return super().forward(batch["x"], batch["scale"])


@pytest.fixture
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Scaled()


class Encoding(UserDict):
    """Made as the batches of a tokenizer are, with things beside its data."""

    def __init__(self, data, encodings=None):
        super().__init__(data)
        self.encodings = encodings

    def __getattr__(self, name):
        try:
            return self.data[name]
        except KeyError:
            raise AttributeError(name) from None


def shift_x(batch, power):
    assert not hasattr(batch, "encodings") or batch.encodings == "kept"
    batch["x"] = SHIFT(batch["x"], power)
    return batch


def shift_first(batch, power):
    x, scale = batch
    return SHIFT(x, power), scale


def shift_items(items, power):
    assert isinstance(items, list)
    return [(SHIFT(x[None], power)[0], scale) for x, scale in items]


def shift_dicts(items, power):
    for item in items:  # in place
        item["x"] = SHIFT(item["x"][None], power)[0]
    return items


class Items(Dataset):
    def __len__(self):
        return len(INPUTS)

    def __getitem__(self, i):
        if i >= len(INPUTS):
            raise IndexError
        return INPUTS[i], SCALES[i]


def expected(model):
    return extract_orbits(model, INPUTS, layer="linear", action=SHIFT, batch_size=3).X


DICT = {"x": INPUTS, "scale": torch.tensor(SCALES)}
DICTS = [{"x": x, "scale": s} for x, s in zip(INPUTS, SCALES, strict=True)]


@pytest.mark.parametrize("batch_size", [3, 256])
@pytest.mark.parametrize(
    ("inputs", "action"),
    [
        (DICT, shift_x),
        (Encoding(DICT, encodings="kept"), shift_x),
        (DICT | {"labels": None}, shift_x),
        ((INPUTS, SCALES), shift_first),
        ([*zip(torch.tensor(INPUTS), SCALES, strict=True)], shift_items),
        (DICTS, shift_dicts),
        (Items(), shift_items),
        (TensorDataset(torch.tensor(INPUTS), torch.tensor(SCALES)), shift_items),
    ],
    ids=["dict", "UserDict", "None", "tuple", "list", "dicts", "dataset", "tensors"],
)
def test_inputs_of_every_kind(inputs, action, batch_size, model):
    before = INPUTS.copy()
    orbits = extract_orbits(
        model, inputs, layer="", action=action, symmetry=3, batch_size=batch_size
    )
    assert_allclose(
        orbits.X, expected(model) * np.repeat(SCALES, 3, axis=0), rtol=1e-5, atol=1e-6
    )
    assert_array_equal(INPUTS, before)


@pytest.mark.parametrize("as_list", [True, False])
def test_actions_of_the_package_move_what_collate_makes(as_list, model):
    orbits = extract_orbits(
        model,
        [*Items()] if as_list else Items(),
        layer="linear",
        action=SHIFT,
        collate=lambda items: torch.stack([torch.tensor(x) for x, _ in items]),
        batch_size=3,
    )
    assert_array_equal(orbits.X, expected(model))


def test_a_list_of_arrays_and_an_array_of_objects(model):
    objects = np.empty(7, dtype=object)
    objects[:] = [*INPUTS]
    for inputs in ([*INPUTS], [*torch.tensor(INPUTS)], objects):
        orbits = extract_orbits(model, inputs, layer="linear", action=SHIFT)
        assert_allclose(orbits.X, expected(model), rtol=1e-5, atol=1e-6)


class Molecule:
    def __init__(self, positions):
        self.positions = positions

    def turn(self, power):
        self.positions = SHIFT(self.positions[None], power)[0]


@dataclass
class Graphs:
    """A batch that is no dict, tuple or array."""

    x: torch.Tensor

    def to(self, device):
        return Graphs(self.x.to(device))


def test_objects_that_actions_change_in_place(model):
    molecules = [Molecule(x) for x in INPUTS]

    def act(items, power):
        for item in items:
            item.turn(power)
        return items

    orbits = extract_orbits(
        model,
        molecules,
        layer="linear",
        action=act,
        symmetry=3,
        collate=lambda items: Graphs(
            torch.tensor(np.stack([m.positions for m in items]))
        ),
        forward=lambda model, graphs: model(graphs.x),
        batch_size=3,
    )
    assert_array_equal(orbits.X, expected(model))
    assert_array_equal(molecules[0].positions, INPUTS[0])


def test_texts():
    words = ["ab", "cd", "ea"]
    model = nn.Sequential(nn.Embedding(5, 4), nn.Flatten())
    orbits = extract_orbits(
        model,
        words,
        layer="1",
        action=lambda batch, power: [w[::-1] if power else w for w in batch],
        symmetry=2,
        collate=lambda batch: torch.tensor(
            [["abcde".index(c) for c in w] for w in batch]
        ),
    )
    rows = orbits.X.reshape(3, 2, 2, 4)
    assert_array_equal(rows[:, 0], rows[:, 1, ::-1])


def test_pictures():
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 255, (5, 6, 6), dtype=np.uint8)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    orbits = extract_orbits(
        model,
        [image.fromarray(x) for x in pixels],
        layer="1",
        action=ImageRotation(4),
        collate=lambda images: np.stack([np.asarray(i) / 255 for i in images]),
    )
    plain = extract_orbits(model, pixels / 255, layer="1", action=ImageRotation(4))
    assert_array_equal(orbits.X, plain.X)


def test_a_model_that_takes_a_dict_as_it_is(model):
    taker = TakesDict()
    taker.load_state_dict(model.state_dict())
    arguments = {"inputs": DICT, "layer": "linear", "action": shift_x, "symmetry": 3}
    with pytest.raises(TypeError, match=r"cannot be called as model\(\*\*batch\)"):
        extract_orbits(taker, **arguments)
    orbits = extract_orbits(
        taker, **arguments, forward=lambda model, batch: model(batch), batch_size=3
    )
    assert_array_equal(orbits.X, expected(model))


def test_an_error_inside_a_model_is_its_own():
    class Broken(nn.Module):
        def forward(self, x):
            return x + "1"

    with pytest.raises(TypeError, match="unsupported operand"):
        extract_orbits(Broken(), INPUTS, layer="", action=SHIFT)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((x for x in INPUTS), "inputs are a generator"),
        (DataLoader(Items()), "inputs are a DataLoader"),
        (np.float32(3), "inputs are a float32"),
        (torch.tensor(3), r"inputs are of shape \(\)"),
        ({"x": None}, "inputs are a dict of NoneType"),
        ((1.0, 2.0), "inputs are a tuple of float"),
        ("text", "inputs are a str"),
        (None, "inputs are a NoneType"),
        ([Molecule(1)], "inputs are a list of Molecule, of which torch's"),
        (["a", "b"], "inputs are a list of str"),
    ],
)
def test_wrong_kinds_are_shown_what_works(inputs, message, model):
    arguments = {"layer": "", "action": lambda x, p: x, "symmetry": 1}
    with pytest.raises(TypeError, match=message) as error:
        extract_orbits(model, inputs, **arguments)
    assert "collate=lambda items: torch.stack(" in str(error.value)


def test_lists_in_a_dict_and_arrays_of_different_length(model):
    arguments = {"layer": "", "action": shift_x, "symmetry": 3}
    with pytest.raises(TypeError, match=r"inputs\['x'\] is a list.*return_tensors"):
        extract_orbits(model, {"x": INPUTS.tolist()}, **arguments)
    with pytest.raises(ValueError, match=r"found \[6, 7\] rows"):
        extract_orbits(model, {"x": INPUTS, "scale": SCALES[1:]}, **arguments)


@pytest.mark.parametrize(
    ("inputs", "line"),
    [
        (DICT, "batch['x'] = action(batch['x'], power)"),
        ((INPUTS, SCALES), "x, *rest = batch"),
        ([*Items()], "collate=lambda items: torch.stack([x for x, *_ in items])"),
    ],
)
def test_actions_of_the_package_are_shown_how_to_move_a_part(inputs, line, model):
    with pytest.raises(TypeError, match="CyclicShift moves arrays") as error:
        extract_orbits(model, inputs, layer="", action=SHIFT)
    assert line in str(error.value)


@pytest.mark.parametrize(
    ("inputs", "result", "found"),
    [
        (DICT, INPUTS, r"action must return dict .* given, 4; found \(7, 6\)"),
        (DICT, {}, "action must return dict .* found dict"),
        ((INPUTS, SCALES), [INPUTS, SCALES], "action must return tuple"),
        ([*Items()], [], "action must return list"),
    ],
)
def test_actions_that_return_another_kind(inputs, result, found, model):
    with pytest.raises(ValueError, match=found):
        extract_orbits(model, inputs, layer="", action=lambda x, p: result, symmetry=2)


def test_an_action_on_a_dict_that_does_not_come_back(model):
    with pytest.raises(ValueError, match="applied 2 times, does not give"):
        extract_orbits(model, DICT, layer="", action=shift_x, symmetry=2)


def test_masked_entries_of_a_dict(model):
    masked = np.ma.masked_array(INPUTS, INPUTS > 1.5)
    assert masked.mask.any()
    with pytest.raises(ValueError, match="inputs has missing values"):
        extract_orbits(
            model, DICT | {"x": masked}, layer="", action=shift_x, symmetry=3
        )


@pytest.mark.parametrize("reads_a_token", [True, False])
def test_texts_padded_batch_by_batch(reads_a_token):
    words = ["a", "bc", "abc", "c", "ab"]
    model = nn.Sequential(nn.Embedding(4, 3), nn.Identity())

    def collate(batch):
        length = max(map(len, batch))
        return torch.tensor([[" abc".index(c) for c in w.rjust(length)] for w in batch])

    arguments = {
        "layer": "1",
        "action": lambda batch, power: batch,
        "symmetry": 1,
        "collate": collate,
        "batch_size": 2,
    }
    if reads_a_token:
        last = extract_orbits(model, words, **arguments, output=lambda out: out[:, -1])
        rows = model[0].weight[[1, 3, 3, 3, 2]].detach()
        assert_array_equal(last.X, rows)
        return
    with pytest.raises(ValueError, match="6 features for some batches and 9 for"):
        extract_orbits(model, words, **arguments)


Pair = namedtuple("Pair", "hidden scores")


class Output(dict):
    """Made as the outputs of transformers are: by key, number and attribute."""

    __getattr__ = dict.__getitem__

    def __getitem__(self, key):
        return (
            [*self.values()][key] if isinstance(key, int) else super().__getitem__(key)
        )


class Put(nn.Module):
    def __init__(self, make):
        super().__init__()
        self.make = make

    def forward(self, x):
        return self.make(x)


@pytest.mark.parametrize(
    ("make", "output"),
    [
        (lambda x: (x, -x), None),
        (lambda x: ("text", x, -x), None),
        (lambda x: (-x, x), 1),
        (lambda x: [-x, x], -1),
        (lambda x: {"cache": None, "hidden": x, "scores": -x}, None),
        (lambda x: {"scores": -x, "hidden": x}, "hidden"),
        (lambda x: Pair(x, -x), None),
        (lambda x: Pair(-x, x), "scores"),
        (lambda x: Output(scores=-x, hidden=x), "hidden"),
        (lambda x: Output(scores=-x, hidden=x), 1),
        (Graphs, "x"),
        (lambda x: (-x, (None, x)), lambda out: out[1][1]),
    ],
)
def test_a_tensor_is_picked_out_of_what_a_layer_puts_out(make, output):
    orbits = extract_orbits(Put(make), INPUTS, layer="", action=SHIFT, output=output)
    plain = extract_orbits(nn.Identity(), INPUTS, layer="", action=SHIFT)
    assert_array_equal(orbits.X, plain.X)


@pytest.mark.parametrize(
    ("made", "output", "found"),
    [
        ("x", None, "found str"),
        ((), None, "found tuple"),
        (("x", None), None, r"found tuple of 0 \(str\), 1 \(NoneType\)"),
        ((torch.ones(7),), 1, r"output=1, found tuple of 0 \(Tensor\)"),
        ({"a": torch.ones(7)}, "b", r"output='b', found dict of 'a' \(Tensor\)"),
        (torch.ones(7), "b", "output='b', found Tensor"),
    ],
)
def test_outputs_without_the_tensor_are_described(made, output, found):
    model = Put(lambda x: made)
    with pytest.raises(ValueError, match=found):
        extract_orbits(model, INPUTS, layer="", action=SHIFT, output=output)


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.shared = nn.Linear(6, 6), nn.Linear(6, 6)
        self.same = self.shared

    def forward(self, x):
        return self.shared(self.shared(self.first(x)))


def test_one_of_several_calls_is_read():
    model = Twice()
    for layer in ("shared", "same"):
        for call in (0, 1):
            orbits = extract_orbits(model, INPUTS, layer=layer, action=SHIFT, call=call)
            rows = model.first(torch.tensor(INPUTS))
            for _ in range(call + 1):
                rows = model.shared(rows)
            assert_allclose(orbits.canonical, rows.detach(), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"called 2 times.*call=, from 0 to 1; found"):
        extract_orbits(model, INPUTS, layer="shared", action=SHIFT, call=2)


def test_several_layers_are_read_in_the_same_passes(tmp_path):
    model, n_passes = Twice(), []
    model.register_forward_pre_hook(lambda *_: n_passes.append(1))
    layers = ["first", "shared", "same", ""]
    settings = {"action": SHIFT, "call": {"shared": 0, "same": 1}, "batch_size": 4}
    together = extract_orbits(model, INPUTS, layer=layers, **settings)
    assert len(n_passes) == 2 * 3 + 1  # batches, powers, an input by itself
    assert [*together] == layers
    for layer, orbits in together.items():
        of_layer = settings | {"call": settings["call"].get(layer)}
        alone = extract_orbits(model, INPUTS, layer=layer, **of_layer)
        assert_array_equal(orbits.X, alone.X)
    on_disk = extract_orbits(model, INPUTS, layer=layers, **settings, out=tmp_path)
    for layer, orbits in on_disk.items():
        assert_array_equal(orbits.X[:], together[layer].X)
    assert (tmp_path / "first" / "000000.npy").exists()
    with pytest.raises(ValueError, match="activations of another layer"):
        extract_orbits(model, INPUTS, layer=layers[:3], **settings, out=tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layer": []}, "layer is an empty list"),
        ({"output": {"first": 0, "last": 0}}, r"output names 'last', .* layer=\['fi"),
        ({"call": {"shared": 0}}, "call names 'shared'"),
    ],
)
def test_settings_of_layers_that_are_not_read(settings, message):
    arguments = {"layer": ["first"], "action": SHIFT} | settings
    with pytest.raises(ValueError, match=message):
        extract_orbits(Twice(), INPUTS, **arguments)


def test_steps_that_are_no_module_are_told_how_to_get_a_name():
    for layer in ("relu", "unused"):
        model = Twice()
        model.unused = nn.Identity()
        with pytest.raises(ValueError, match=r"self\.step = torch\.nn\.Identity"):
            extract_orbits(model, INPUTS, layer=layer, action=SHIFT)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_parts_of_a_scripted_model_are_told_what_to_do():
    script = torch.jit.script(nn.Sequential(nn.Linear(6, 2)))
    with pytest.raises(ValueError, match="Give the model that was scripted"):
        extract_orbits(script, INPUTS, layer="0", action=SHIFT)


def test_the_layers_of_a_transformer():
    encoder = nn.TransformerEncoderLayer(6, 2, 8, batch_first=True)
    x = np.random.default_rng(0).normal(size=(4, 3, 6)).astype(np.float32)
    layers = ["self_attn", "linear1", "norm2", ""]
    found = extract_orbits(
        encoder, x, layer=layers, action=CyclicShift(axis=1, order=3)
    )
    assert [orbits.X.shape[1] for orbits in found.values()] == [18, 24, 18, 18]
    with pytest.raises(ValueError, match=r"called 0 times.*take a layer's weights"):
        extract_orbits(encoder, x, layer="self_attn.out_proj", action=CyclicShift(1, 3))


def test_a_progress_bar(capsys):
    for verbose in (0, 1):
        extract_orbits(
            nn.Identity(), INPUTS, layer="", action=SHIFT, batch_size=2, verbose=verbose
        )
        assert ("4/4" in capsys.readouterr().err) == bool(verbose)
