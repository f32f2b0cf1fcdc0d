"""A fitted autoencoder as a torch module gives what the estimator gives."""

import itertools

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError

from sk_eqsae import ActivationTransformFitter, EquivariantSAE, GroupTiedSAE, TopKSAE
from sk_eqsae.groups import DihedralGroup
from tests.fitted import data
from tests.instances import QUICK
from tests.peers import CASES, assert_same, exportable

TWO_LAYERS = TopKSAE(24, k=3, hidden_dim=6, **QUICK)


def as_arrays(module, X):
    with torch.no_grad():
        Z = module.encode(torch.from_numpy(X))
        return Z.numpy(), module.decode(Z).numpy()


@pytest.mark.parametrize(("name", "offset"), CASES)
def test_a_module_encodes_and_decodes_as_the_estimator(name, offset):
    sae, X = exportable(name, offset)
    module = sae.to_module()
    assert_same(sae, X, *as_arrays(module, X))
    assert (module.n_features, module.n_latents) == sae.components_.shape[::-1]


@pytest.mark.parametrize("activation", ["topk", "batch_topk"])
@pytest.mark.parametrize("offset", [0, 1000])
def test_a_module_of_two_layers_encodes_and_decodes_as_the_estimator(
    activation, offset
):
    X = (data()[0] + offset).astype(np.float32)
    sae = clone(TWO_LAYERS).set_params(activation=activation).fit(X)
    assert_same(sae, X, *as_arrays(sae.to_module(), X))


def test_forward_reconstructs_and_leading_axes_stay():
    sae, X = exportable("default", 0)
    module = sae.to_module()
    rows = torch.from_numpy(X).reshape(6, 40, 12)
    assert module.encode(rows).shape == (6, 40, 24)
    expected = sae.inverse_transform(sae.transform(X)).reshape(6, 40, 12)
    np.testing.assert_allclose(module(rows).detach().numpy(), expected, atol=1e-5)


def test_a_module_is_a_copy_that_keeps_its_state_and_can_be_trained():
    sae, X = exportable("default", 0)
    before = sae.components_.copy()
    module, other = sae.to_module(), clone(sae).set_params(random_state=1)
    rows = torch.from_numpy(X)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        losses.append((module(rows) - rows).square().mean())
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < losses[0]
    np.testing.assert_array_equal(sae.components_, before)
    copy = other.fit(data()[0]).to_module()
    assert not torch.equal(copy(rows), module(rows))
    copy.load_state_dict(module.state_dict())
    assert torch.equal(copy(rows), module(rows))


def test_gradients_reach_the_activations():
    module = exportable("default", 0)[0].to_module().double()
    # away from where one latent takes the place of another
    rows = torch.from_numpy(data()[0][:4]) + 0.01
    assert torch.autograd.gradcheck(module, rows.requires_grad_())


@pytest.fixture(scope="module")
def equivariant():
    """Fitted well enough to tell poses."""
    X, _, metadata = data()
    sae = EquivariantSAE(16, k=3, hidden_dim=32, max_epochs=60, random_state=0)
    return sae.fit(X, **metadata)


def test_an_equivariant_module_moves_and_infers_as_the_estimator(equivariant):
    X, _, metadata = data()
    module, rows = equivariant.to_module(), torch.from_numpy(X).float()
    power = metadata["power"]
    assert_same(equivariant, X.astype(np.float32), *as_arrays(module, np.float32(X)))
    poses = module.predict_power(rows)
    np.testing.assert_array_equal(poses, equivariant.predict_power(X))
    assert (poses.numpy() == power).mean() > 0.9
    for given in (None, 3, -1, power):
        expected = equivariant.reconstruct(X, power=given)
        found = module(rows, None if given is None else torch.tensor(given))
        np.testing.assert_allclose(found.detach(), expected, atol=1e-5)
    Z = torch.from_numpy(equivariant.transform(X)).float()
    expected = equivariant.inverse_transform(Z.numpy(), power=power)
    found = module.decode(Z, torch.tensor(power)).detach()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_an_equivariant_module_takes_tokens_too(equivariant):
    X = torch.from_numpy(data()[0]).float()
    module = equivariant.to_module()
    tokens, power = X.reshape(60, 4, 12), torch.arange(4).expand(60, 4)
    assert torch.equal(module(tokens).reshape(-1, 12), module(X))
    assert torch.equal(module(tokens, power)[:, 2], module(tokens[:, 2], 2))


# rows are turned at random, for it is about powers that are given
@pytest.mark.filterwarnings("ignore:The canonical rows cannot be recognised")
def test_several_generators_act_in_their_order():
    group = DihedralGroup(3)
    rng = np.random.default_rng(0)
    # the regular representation, twice: elements permute themselves
    moves = group.multiplication_table[:, group.inverses].argsort(axis=0).T
    orbits = rng.normal(size=(30, 2, 6))
    X = np.stack([np.take(orbits, m, axis=2).reshape(30, 12) for m in moves], axis=1)
    metadata = {
        "groups": np.repeat(np.arange(30), 6),
        "power": np.tile(group.powers, (30, 1)),
    }
    sae = EquivariantSAE(16, symmetry=group, k=2, hidden_dim=None, **QUICK)
    sae.fit(X.reshape(-1, 12), **metadata)
    rows = torch.from_numpy(X.reshape(-1, 12)).float()
    module = sae.to_module()
    for power in (metadata["power"], metadata["power"] + 3, [2, 1]):
        expected = sae.activation_transform_.act(rows.numpy(), power)
        found = module.act(rows, torch.tensor(power))
        np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_array_equal(module.predict_power(rows), sae.predict_power(rows))
    Z = sae.transform(rows.numpy())
    uses = [
        lambda power: sae.reconstruct(rows.numpy(), power=power),
        lambda power: sae.inverse_transform(Z, power=power),
        lambda power: sae.activation_transform_.act(rows.numpy(), power),
        lambda power: module.act(rows, power),
    ]
    for power, use in itertools.product((0, [0], [0, 1, 0]), uses):
        with pytest.raises(ValueError, match=r"and 2 generator\(s\). Give one"):
            use(power)


@pytest.mark.parametrize(
    ("power", "message"),
    [
        (0.5, "power has to hold integers"),
        (torch.zeros(3, dtype=torch.int64), r"power has shape \(3,\) for rows"),
    ],
)
def test_powers_that_are_none_are_refused(power, message, equivariant):
    with pytest.raises(ValueError, match=message):
        equivariant.to_module().act(torch.zeros(5, 12), power)


class Actor(ActivationTransformFitter):
    """An M that cannot be written down."""

    matrix = property()


def test_what_has_no_module_says_why():
    X, _, metadata = data()
    with pytest.raises(NotFittedError):
        TopKSAE().to_module()
    pooled = GroupTiedSAE(4, k=2, output="invariant", **QUICK).fit(X, **metadata)
    with pytest.raises(AttributeError) as error:
        pooled.to_module()
    assert "output='equivariant'" in str(error.value.__cause__)
    sae = EquivariantSAE(4, k=2, activation_transform=Actor(), **QUICK)
    assert isinstance(sae, BaseEstimator)
    with pytest.raises(ValueError, match="Actor, which has no method matrix"):
        sae.fit(X, **metadata).to_module()
    with pytest.raises(ValueError, match="lost in float32"):
        TopKSAE(4, k=2, **QUICK).fit(X * 1e-60).to_module()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_module_gives_the_same_on_a_gpu(equivariant):
    X = torch.from_numpy(data()[0]).float()
    module = equivariant.to_module()
    expected = module(X).detach()
    torch.testing.assert_close(module.cuda()(X.cuda()).cpu().detach(), expected)
