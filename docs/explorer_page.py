"""Write the page that the site shows as a live example of `explore`."""

import sys

import pandas as pd
import torch
from torch import nn

from sk_eqsae import GroupTiedSAE, explore, extract_orbits, make_shapes, shape_tasks
from sk_eqsae.groups import ImageRotation

SIDE = 32  # pixels that the network sees and decodes
N_IMAGES, N_STEPS = 400, 300


def trained_network(images):
    """Encoder and decoder of a small autoencoder of images and their rotations."""
    torch.manual_seed(0)
    see = [nn.AvgPool2d(images.shape[-1] // SIDE), nn.Flatten()]
    encoder = nn.Sequential(*see, nn.Linear(SIDE**2, 128), nn.ReLU())
    decoder = nn.Linear(128, SIDE**2)
    rotated = torch.cat([torch.rot90(images, p, (2, 3)) for p in range(4)])
    pixels = encoder[:2](rotated)
    weights = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(weights, lr=1e-3)
    for _ in range(N_STEPS):
        batch = pixels[torch.randint(len(pixels), (64,))]
        loss = (decoder(encoder[2:](batch)) - batch).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return encoder.eval(), decoder.eval()


def write(path):
    """Train, read a layer, fit and write the page."""
    shapes, tasks = make_shapes(N_IMAGES, random_state=0), shape_tasks()
    images = torch.from_numpy(shapes.images)
    encoder, decoder = trained_network(images)
    action = ImageRotation(order=4)
    orbits = extract_orbits(encoder, images, layer="3", action=action)
    sae = GroupTiedSAE(192, k=8, max_epochs=40, random_state=0)
    sae.fit(orbits.X, **orbits.metadata)
    labels = tasks.label_matrix(shapes, groups=orbits.groups, power=orbits.power)

    @torch.no_grad()
    def decode(rows):
        return decoder(torch.from_numpy(rows)).reshape(-1, SIDE, SIDE).numpy()

    return explore(
        sae,
        orbits,
        images,
        action=action,
        labels=pd.DataFrame(labels, columns=tasks.names),
        decode=decode,
        path=path,
    )


if __name__ == "__main__":
    print(write(sys.argv[1]))
