"""The base models are those of the paper's Table 1, layer by layer."""

import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn

from benchmarks.paper import CNNAutoencoder, MLPAutoencoder
from sk_eqsae import extract_orbits, make_shapes
from sk_eqsae.groups import ImageRotation

CNN_STRIDED = {"kernel_size": (3, 3), "stride": (2, 2), "padding": (1, 1)}
CNN_WHOLE = {"kernel_size": (16, 16), "stride": (1, 1), "padding": (0, 0)}
TABLE_1 = {
    MLPAutoencoder: [
        (nn.Linear, {"in_features": 4096, "out_features": 256}),
        (nn.ReLU, {}),
        (nn.Linear, {"in_features": 256, "out_features": 256}),
        "pre-activations",
        (nn.ReLU, {}),
        (nn.Linear, {"in_features": 256, "out_features": 256}),
        (nn.ReLU, {}),
        (nn.Linear, {"in_features": 256, "out_features": 4096}),
    ],
    CNNAutoencoder: [
        (nn.Conv2d, {"in_channels": 1, "out_channels": 16, **CNN_STRIDED}),
        (nn.ReLU, {}),
        (nn.Conv2d, {"in_channels": 16, "out_channels": 32, **CNN_STRIDED}),
        (nn.ReLU, {}),
        (nn.Conv2d, {"in_channels": 32, "out_channels": 256, **CNN_WHOLE}),
        "pre-activations",
        (nn.ReLU, {}),
        (nn.ConvTranspose2d, {"in_channels": 256, "out_channels": 32, **CNN_WHOLE}),
        (nn.ReLU, {}),
        (
            nn.ConvTranspose2d,
            {
                "in_channels": 32,
                "out_channels": 16,
                "output_padding": (1, 1),
                **CNN_STRIDED,
            },
        ),
        (nn.ReLU, {}),
        (
            nn.ConvTranspose2d,
            {
                "in_channels": 16,
                "out_channels": 1,
                "output_padding": (1, 1),
                **CNN_STRIDED,
            },
        ),
    ],
}
N_PARAMETERS = {
    MLPAutoencoder: (1_048_832 + 65_792, 65_792 + 1_052_672),
    CNNAutoencoder: (160 + 4_640 + 2_097_408, 2_097_184 + 4_624 + 145),
}
MODELS = list(TABLE_1)


def computing_layers(module):
    """Layers that change values, not only shapes."""
    return [m for m in module if not isinstance(m, nn.Flatten | nn.Unflatten)]


@pytest.mark.parametrize("Model", MODELS)
def test_layers_are_those_of_table_1(Model):
    model = Model()
    layers = [
        *computing_layers(model.encoder),
        "pre-activations",
        *computing_layers(model.decoder),
    ]
    assert len(layers) == len(TABLE_1[Model])
    for layer, expected in zip(layers, TABLE_1[Model], strict=True):
        if isinstance(expected, str):
            assert layer == expected
            continue
        kind, attributes = expected
        assert type(layer) is kind
        assert {name: getattr(layer, name) for name in attributes} == attributes


@pytest.mark.parametrize("Model", MODELS)
def test_number_of_parameters(Model):
    model = Model()
    counts = tuple(
        sum(p.numel() for p in part.parameters())
        for part in (model.encoder, model.decoder)
    )
    assert counts == N_PARAMETERS[Model]
    assert sum(p.numel() for p in model.parameters()) == sum(counts)


@pytest.mark.parametrize("Model", MODELS)
def test_encoder_and_decoder_make_up_the_model(Model):
    model, images = Model(), torch.rand(3, 1, 64, 64)
    activations = model.encoder(images)
    before = activations.detach().clone()
    assert activations.shape == (3, 256)
    assert (activations < 0).any()
    torch.testing.assert_close(model.decoder(activations), model(images))
    assert model(images).shape == images.shape
    torch.testing.assert_close(activations, before)


@pytest.mark.parametrize("Model", MODELS)
def test_base_models_give_their_pre_activations(Model):
    model, images = Model(), make_shapes(3, random_state=0).images
    orbits = extract_orbits(model, images, layer="encoder", action=ImageRotation(4))
    with torch.no_grad():
        expected = model.encoder(torch.as_tensor(images)).numpy()
    assert orbits.X.shape == (12, 256)
    assert_allclose(orbits.canonical, expected, rtol=1e-4, atol=1e-6)
    assert (orbits.X < 0).any()
