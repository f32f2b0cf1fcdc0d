"""A spliced model computes with the reconstruction, and is itself again afterwards."""

from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from torch import nn

from sk_eqsae import EquivariantSAE, GroupTiedSAE, TopKSAE, extract_orbits, splice
from sk_eqsae.activations import Tokens
from sk_eqsae.groups import ImageFlip
from tests.fitted import data
from tests.instances import QUICK


class Net(nn.Module):
    """Images of 1x2x6 to a convolution of 12 entries, to tokens, to two classes."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, (1, 4), stride=(1, 2), padding=(0, 1))
        self.relu = nn.ReLU(inplace=True)
        self.tokens = nn.Linear(4, 12)
        self.unused = nn.Identity()
        self.pair = Pair()
        self.head = nn.Linear(36, 2)
        self.n_calls = 1

    def forward(self, x):
        x = self.conv(x)
        x = self.relu(x).flatten(1).reshape(-1, 3, 4)
        for _ in range(self.n_calls):
            y = self.tokens(x)
        self.pair(y)
        return self.head(y.flatten(1))


class Pair(nn.Module):
    """Puts out two tensors."""

    def forward(self, x):
        return x, x


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


@pytest.fixture
def images():
    return torch.randn(50, 1, 2, 6, generator=torch.Generator().manual_seed(1))


def activations(net, images, layer):
    outputs = []
    hook = net.get_submodule(layer).register_forward_hook(
        lambda module, args, output: outputs.append(output.detach().clone())
    )
    net(images)
    hook.remove()
    return outputs[0]


def fitted_on(net, images, layer, **parameters):
    X = activations(net, images, layer).reshape(-1, 12).numpy()
    return TopKSAE(24, k=3, **QUICK, **parameters).fit(X)


def tail(net, layer, output):
    """What the model makes of a layer's output."""
    output = torch.as_tensor(output, dtype=torch.float32)
    if layer == "conv":
        tokens = net.tokens(output.relu().flatten(1).reshape(-1, 3, 4))
    else:
        tokens = output
    return net.head(tokens.flatten(1))


@pytest.mark.parametrize("layer", ["conv", "tokens"])
def test_the_rest_of_the_model_sees_the_reconstruction(layer, net, images):
    sae = fitted_on(net, images, layer)
    x = activations(net, images, layer)
    x_hat = sae.inverse_transform(sae.transform(x.reshape(-1, 12).numpy()))
    expected = tail(net, layer, x_hat.reshape(x.shape))
    with splice(net, layer, sae) as spliced:
        assert spliced is net
        torch.testing.assert_close(net(images), expected)
        assert not torch.allclose(expected, tail(net, layer, x))
    torch.testing.assert_close(net(images), tail(net, layer, x))


def test_latents_are_ablated_and_steered_in_the_units_of_the_activations(net, images):
    sae = fitted_on(net, images, "tokens")
    x = activations(net, images, "tokens")
    Z = sae.transform(x.reshape(-1, 12).numpy())
    first, second, third = np.argsort(Z.sum(axis=0))[-3:].tolist()
    Z[:, [first, second]] = 0
    Z[:, third] = 2.5
    expected = tail(net, "tokens", sae.inverse_transform(Z).reshape(x.shape))
    with splice(net, "tokens", sae, ablate=[first, second], steer={third: 2.5}):
        torch.testing.assert_close(net(images), expected)
    with splice(net, "tokens", sae, ablate=[first], steer={third: 2.5}):
        assert not torch.allclose(net(images), expected)


def test_with_the_error_kept_only_what_is_set_changes(net, images):
    sae = fitted_on(net, images, "conv")
    base = net(images)
    x = activations(net, images, "conv")
    Z = sae.transform(x.reshape(-1, 12).numpy())
    latent = int(Z.sum(axis=0).argmax())
    without = x - torch.from_numpy(
        Z[:, [latent]] @ sae.components_[[latent]]
    ).reshape_as(x)
    with splice(net, "conv", sae, keep_error=True):
        torch.testing.assert_close(net(images), base)
    with splice(net, "conv", sae, ablate=[latent], keep_error=True):
        torch.testing.assert_close(net(images), tail(net, "conv", without))


def test_no_gradient_flows_through_the_error(net, images):
    sae = fitted_on(net, images, "tokens")
    leaf = images.clone().requires_grad_()

    def gradient(**options):
        with splice(net, "tokens", sae, **options):
            return torch.autograd.grad(net(leaf).sum(), leaf)[0]

    torch.testing.assert_close(gradient(keep_error=True), gradient())
    everything = range(24)
    assert not gradient(ablate=everything, keep_error=True).any()
    assert gradient().any()


def test_a_module_that_is_given_gets_gradients_and_an_estimator_none(net, images):
    sae = fitted_on(net, images, "tokens")
    module = sae.to_module()
    net.requires_grad_(False)
    with splice(net, "tokens", module):
        net(images).sum().backward()
    assert module.components.grad.any()
    with splice(net, "tokens", sae):
        assert not net(images).requires_grad


@pytest.fixture(scope="module")
def equivariant():
    X, _, metadata = data()
    sae = EquivariantSAE(16, k=3, hidden_dim=32, max_epochs=40, random_state=0)
    return sae.fit(X, **metadata), torch.from_numpy(X).float(), metadata["power"]


def test_an_equivariant_reconstruction_is_moved_to_where_the_row_was(equivariant):
    sae, X, power = equivariant
    model = nn.Sequential(nn.Identity())
    for given in (None, power):
        expected = sae.reconstruct(X.numpy(), power=given)
        with splice(model, "0", sae, power=given):
            np.testing.assert_allclose(model(X), expected, atol=1e-5)


def test_the_pose_is_that_of_the_latents_before_any_was_set(equivariant):
    sae, X, _ = equivariant
    Z = sae.transform(X.numpy())
    Z[:, 0] = 3.0
    expected = sae.inverse_transform(Z, power=sae.predict_power(X.numpy()))
    model = nn.Sequential(nn.Identity())
    with splice(model, "0", sae, steer={0: 3.0}):
        np.testing.assert_allclose(model(X), expected, atol=1e-5)
    with splice(model, "0", sae, keep_error=True):
        np.testing.assert_allclose(model(X), X, atol=1e-5)


def test_a_group_tied_autoencoder_commutes_with_the_group():
    X, _, metadata = data()
    sae = GroupTiedSAE(4, k=3, max_epochs=20, random_state=0).fit(X, **metadata)
    X, model = torch.from_numpy(X).float(), nn.Sequential(nn.Identity())
    with splice(model, "0", sae):
        torch.testing.assert_close(
            model(X.roll(3, dims=1)), model(X).roll(3, dims=1), atol=1e-4, rtol=0
        )


def test_other_types_and_autocasting_leave_the_autoencoder_in_float32(net, images):
    sae = fitted_on(net, images, "tokens")
    with splice(net, "tokens", sae):
        single = net(images)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert net(images).dtype == torch.bfloat16
        net.double()
        found = net(images.double())
    assert found.dtype == torch.float64
    torch.testing.assert_close(found.float(), single)
    x = torch.from_numpy(data()[0]).bfloat16()
    sae, model = TopKSAE(24, k=3, **QUICK).fit(x.float()), nn.Sequential(nn.Identity())
    expected = sae.inverse_transform(sae.transform(x.float().numpy()))
    with splice(model, "0", sae), torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(model(x), torch.from_numpy(expected).bfloat16())


def test_the_hooks_are_gone_after_an_error_too(net, images):
    sae = fitted_on(net, images, "tokens")
    before = net(images)
    with pytest.raises(ZeroDivisionError), splice(net, "tokens", sae):
        raise ZeroDivisionError
    with (
        pytest.raises(ValueError, match="was fitted on 12"),
        splice(net, "head", sae),
    ):
        net(images)
    assert torch.equal(net(images), before)
    for module in net.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


def test_a_model_can_be_called_again_after_an_error_inside(net, images):
    sae = fitted_on(net, images, "tokens")
    with splice(net, "tokens", sae):
        expected = net(images)
        with pytest.raises(RuntimeError):
            net(images[:, :, :1, :1])
        net.tokens(torch.zeros(2, 4))  # a layer by itself is no forward pass
        net.tokens(torch.zeros(2, 4))
        assert torch.equal(net(images), expected)


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("put_out", "output", "key"),
    [
        (lambda x: (x, x), None, 0),
        (lambda x: [None, x], None, 1),
        (lambda x: (x, x), -1, 1),
        (lambda x: {"a": x, "b": x}, None, "a"),
        (lambda x: {"a": x, "b": x}, "b", "b"),
        (lambda x: Point(x, x), "y", 1),
        (lambda x: Point(x, x), 0, 0),
    ],
)
def test_one_tensor_that_a_layer_puts_out_is_replaced(put_out, output, key, images):
    model = nn.Sequential(nn.Flatten(), nn.Identity())
    model[1].register_forward_hook(lambda module, args, x: put_out(x))
    rows = images.flatten(1)
    sae = TopKSAE(24, k=3, **QUICK).fit(rows.numpy())
    before = model(images)
    with splice(model, "1", sae, output=output):
        after = model(images)
    assert type(after) is type(before)
    for each in before if isinstance(before, dict) else range(len(before)):
        if each == key:
            torch.testing.assert_close(after[each], sae.to_module()(rows))
        else:
            assert after[each] is before[each] or torch.equal(after[each], rows)
    with pytest.raises(TypeError, match="so that it can be replaced"):
        splice(model, "1", sae, output=lambda out: out[0]).__enter__()


@pytest.mark.parametrize("call", [0, 1])
def test_one_of_several_calls_is_replaced(call):
    shared = nn.Linear(12, 12)
    model, x = nn.Sequential(shared, shared), torch.randn(50, 12)
    sae = TopKSAE(24, k=3, **QUICK).fit(x.numpy())
    module = sae.to_module()
    with splice(model, "0", sae, call=call):
        found = model(x), model(x)
        plain = shared(x)  # no forward pass
    hidden = module(shared(x)) if call == 0 else shared(x)
    expected = shared(hidden) if call == 0 else module(shared(hidden))
    for each in found:
        torch.testing.assert_close(each, expected)
    assert torch.equal(plain, shared(x))
    with (
        pytest.raises(ValueError, match="called 2 times"),
        splice(model, "0", sae, call=2),
    ):
        model(x)


def test_the_model_itself_can_be_the_layer(images):
    model = nn.Linear(12, 12)
    rows = images.reshape(-1, 12)
    sae = TopKSAE(24, k=3, **QUICK).fit(model(rows).detach().numpy())
    expected = sae.to_module()(model(rows))
    with splice(model, "", sae):
        torch.testing.assert_close(model(rows), expected)


def test_orbits_can_be_extracted_from_a_spliced_model(net, images):
    sae = fitted_on(net, images, "tokens")
    options = {"layer": "head", "action": lambda x, p: x.roll(p, -1), "symmetry": 6}
    with splice(net, "tokens", sae):
        spliced = extract_orbits(net, images, device="cpu", **options)
        np.testing.assert_allclose(spliced.X[::6], net(images).detach(), atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("nowhere", "layer='nowhere' does not exist in Net"),
        ("unused", "was called 0 times in one forward pass"),
        ("head", r"puts out shape \(50, 2\), but the autoencoder was fitted on 12"),
    ],
)
def test_layers_that_cannot_be_replaced_are_refused(layer, message, net, images):
    sae = fitted_on(net, images, "tokens")
    with pytest.raises(ValueError, match=message), splice(net, layer, sae):
        net(images)


def test_a_layer_that_is_called_twice_is_refused(net, images):
    sae = fitted_on(net, images, "tokens")
    net.n_calls = 2
    with (
        pytest.raises(ValueError, match="was called 2 times"),
        splice(net, "tokens", sae),
    ):
        net(images)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ablate": [24]}, "ablate names latents from 24 to 24, but .* 0 to 23"),
        ({"ablate": [-1]}, "ablate names latents from -1"),
        ({"ablate": [0.5]}, "ablate has to list latents by their numbers"),
        ({"ablate": [True] * 24}, "ablate has to list latents by their numbers"),
        ({"ablate": 3}, "ablate has to list latents by their numbers"),
        ({"steer": {30: 1.0}}, "steer names latents from 30"),
        ({"steer": {3: float("nan")}}, "steer sets latent 3 to nan"),
        ({"ablate": [3], "steer": {3: 1.0}}, "latent 3 is in ablate"),
        ({"power": 1}, "power is only for an EquivariantSAE"),
    ],
    ids=str,
)
def test_latents_that_cannot_be_set_are_refused(options, message, net, images):
    sae = fitted_on(net, images, "tokens")
    with (
        pytest.raises(ValueError, match=message),
        splice(net, "tokens", sae, **options),
    ):
        pass


def test_a_frozen_autoencoder_is_taken_as_what_it_holds(net, images):
    sae = fitted_on(net, images, "tokens")
    with splice(net, "tokens", sae) as spliced:
        expected = spliced(images)
    with splice(net, "tokens", FrozenEstimator(sae)) as spliced:
        torch.testing.assert_close(spliced(images), expected)


def test_models_and_autoencoders_of_other_types_are_refused(net, images):
    sae = fitted_on(net, images, "tokens")
    with pytest.raises(TypeError, match="model must be a torch"), splice(sae, "", sae):
        pass
    with (
        pytest.raises(TypeError, match="found Linear"),
        splice(net, "tokens", nn.Linear(12, 12)),
    ):
        pass


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_autoencoder_follows_the_activations_to_a_gpu(net, images, equivariant):
    sae = fitted_on(net, images, "conv")
    with splice(net, "conv", sae, ablate=[1], steer={2: 1.0}, keep_error=True):
        expected = net(images)
        found = net.cuda()(images.cuda())
    torch.testing.assert_close(found.cpu(), expected, atol=1e-4, rtol=1e-4)
    sae, X, power = equivariant
    model = nn.Sequential(nn.Identity())
    with splice(model, "0", sae, power=power):
        torch.testing.assert_close(model(X.cuda()).cpu(), model(X))


@pytest.mark.parametrize("steer", [[1], 5, {1: "a"}, {1: None}, {1: [1, 2]}])
def test_values_to_steer_to_are_numbers(net, steer):
    sae = TopKSAE(16, k=2, max_epochs=1, random_state=0).fit(np.eye(12))
    with (
        pytest.raises((TypeError, ValueError), match=r"^steer"),
        splice(net, "tokens", sae, steer=steer),
    ):
        pass


def test_pooled_latents_cannot_be_spliced(net):
    sae = GroupTiedSAE(4, symmetry=1, k=2, output="invariant", max_epochs=1)
    sae = sae.fit(np.eye(12))
    with (
        pytest.raises(ValueError, match="Set output='equivariant'"),
        splice(net, "tokens", sae),
    ):
        pass


def test_passes_of_several_threads_are_counted_apart():
    model = nn.Sequential(Turns(nn.Identity()), nn.Identity())
    sae = TopKSAE(4, k=1, max_epochs=1, random_state=0)
    sae = sae.fit(np.random.default_rng(0).normal(size=(20, 3)))
    with splice(model, "0.module", sae), ThreadPoolExecutor(2) as threads:
        model[0].meeting = Barrier(2, timeout=60)
        found = list(threads.map(model, torch.randn(2, 5, 3)))
    assert [one.shape for one in found] == [(5, 3), (5, 3)]


def test_each_thread_has_its_own_splices():
    x = torch.randn(5, 3)
    model = nn.Sequential(nn.Linear(3, 3), nn.Identity())
    sae = TopKSAE(4, k=4, max_epochs=1, random_state=0).fit(x.numpy())
    started, done = Barrier(3, timeout=60), Barrier(3, timeout=60)

    def spliced(latent):
        with splice(model, "0", sae, steer={latent: 9.0}) as one:
            started.wait()
            out = one(x)
            done.wait()
        return out

    def extracted(_):
        started.wait()
        move = ImageFlip(axis=-1)
        out = extract_orbits(model, x, layer="0", action=move).X[::2]
        done.wait()
        return torch.from_numpy(out)

    with torch.no_grad():
        expected = [model(x)]
        for latent in (0, 1):
            with splice(model, "0", sae, steer={latent: 9.0}):
                expected.insert(latent, model(x))
    with ThreadPoolExecutor(3) as threads:
        found = list(
            threads.map(lambda f, i: f(i), [spliced] * 2 + [extracted], range(3))
        )
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.detach(), other, rtol=0, atol=1e-6)


def test_a_pass_that_was_running_before_is_not_counted():
    model = nn.Sequential(Turns(nn.Identity()), nn.Identity())
    model[0].meeting = Barrier(2, timeout=60)
    sae = TopKSAE(4, k=1, max_epochs=1, random_state=0).fit(np.eye(3))
    model.register_forward_hook(lambda *_: None)  # else torch looks for none later
    x = torch.randn(5, 3)
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(model, x)
        while not model[0].meeting.n_waiting:
            pass
        with splice(model, "1", sae, call=1):
            model[0].meeting.wait()
            assert torch.equal(running.result(), x)


class Turns(nn.Module):
    """Its passes wait for each other before they call the layer."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        self.meeting.wait()
        return self.module(x)


@pytest.fixture(scope="module")
def maps():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.Flatten(), nn.Linear(96, 2))
    return model, torch.randn(40, 1, 4, 4)


def test_every_site_of_a_map_is_replaced(maps):
    model, images = maps
    x = model[0](images).detach()
    rows = x.movedim(1, -1).reshape(-1, 6).numpy()
    sae = TopKSAE(12, k=2, **QUICK).fit(rows)
    Z = sae.transform(rows)
    latent = int(Z.sum(axis=0).argmax())
    Z[:, latent] = 2.5
    made = torch.from_numpy(sae.inverse_transform(Z)).reshape(40, 4, 4, 6)
    with splice(model, "0", sae, sites="map", steer={latent: 2.5}):
        torch.testing.assert_close(model[0](images), made.movedim(-1, 1))
        torch.testing.assert_close(model(images), model[1:](made.movedim(-1, 1)))
    with splice(model, "0", sae, sites="map", keep_error=True):
        torch.testing.assert_close(model[0](images), x)


@pytest.mark.parametrize("kept", [False, True])
def test_tokens_are_replaced_and_a_prefix_only_if_it_is_kept(kept):
    x = torch.randn(20, 5, 6)
    model = nn.Sequential(nn.Identity())
    sae = TopKSAE(12, k=2, **QUICK).fit(x.reshape(-1, 6).numpy())
    expected = sae.to_module()(x)
    if not kept:
        expected[:, 0] = x[:, 0]
    sites = Tokens(grid=(2, 2), prefix=1, keep_prefix=kept)
    with splice(model, "0", sae, sites=sites):
        torch.testing.assert_close(model(x), expected)


def test_powers_of_inputs_are_those_of_all_their_sites(equivariant):
    sae, X, _ = equivariant
    inputs = X[: len(X) // 2 * 2].reshape(-1, 1, 2, X.shape[1])
    expected = sae.reconstruct(inputs.reshape(-1, X.shape[1]).numpy(), power=1)
    model = nn.Sequential(nn.Identity())
    maps = inputs.movedim(-1, 1)
    given = np.ones(len(maps), dtype=int)
    with splice(model, "0", sae, sites="map", power=given):
        found = model(maps).movedim(1, -1).reshape(-1, X.shape[1])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_sites_that_cannot_be_put_back_are_refused(maps):
    model, images = maps
    sae = TopKSAE(12, k=2, **QUICK).fit(np.random.default_rng(0).normal(size=(50, 16)))
    for sites in (lambda x: x, "grid"):
        with pytest.raises(ValueError, match="can be put back"):
            splice(model, "0", sae, sites=sites).__enter__()
    with (
        pytest.raises(ValueError, match="was fitted on 16"),
        splice(model, "0", sae, sites="map"),
    ):
        model(images)
