"""Fit M at steps of 15 degrees, test it between: python -m benchmarks.angles."""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks.paper import CNNAutoencoder
from sk_eqsae import ActivationTransformFitter, extract_orbits, make_shapes
from sk_eqsae.groups import ImageRotation
from sk_eqsae.inspection import fvu
from sk_eqsae.persistence import atomic_write

STEPS = 24  # of 15 degrees


def main() -> None:
    """Train a CNN on rotated images, fit M, print and store R2 by angle."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.angles")
    parser.add_argument("--images", type=int, default=4_000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path("reports/angles.csv"))
    args = parser.parse_args()
    images = round_images(args.images)
    model = train(images, args.epochs)
    n_fit = min(1_000, args.images // 2)
    table = r2_by_angle(model, images[:n_fit], images[n_fit:][:300])
    print(
        table.groupby("kind")[["r2", "r2_refined", "identity", "nearest_step"]].mean()
    )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(args.out) as part:
        table.to_csv(part, index=False)


def round_images(n_images: int) -> torch.Tensor:
    """Shapes inside the largest disk, so that no rotation cuts anything off."""
    images = make_shapes(n_images, orientation="random", random_state=0).images
    y, x = np.indices(images.shape[2:]) - (images.shape[2] - 1) / 2
    return torch.from_numpy(images * (np.hypot(x, y) < images.shape[2] / 2))


def train(images: torch.Tensor, epochs: int) -> torch.nn.Module:
    """Train a CNN autoencoder, each batch rotated by one random angle."""
    torch.manual_seed(0)
    rotate = ImageRotation(order=360)
    model = CNNAutoencoder()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    for epoch in range(epochs):
        total = 0.0
        for rows in torch.randperm(len(images)).split(64):
            batch = rotate(images[rows], int(torch.randint(360, ())))
            loss = torch.nn.functional.mse_loss(model(batch), batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
        print(f"epoch {epoch + 1}: loss {total / len(images):.5f}", flush=True)
    return model


def fit_exact(orbits, **settings) -> ActivationTransformFitter:
    """Fit the exact law, in closed form or refined by gradient descent."""
    fitter = ActivationTransformFitter(STEPS, random_state=0, **settings)
    fitter.fit(orbits.X, groups=orbits.groups, power=orbits.power)
    print(f"{settings}: rank {fitter.rank_}, order error {fitter.order_error_:.1e}")
    return fitter


def r2_by_angle(model, fit_images, test_images) -> pd.DataFrame:
    """R2 of M^t, also refined, on images not fitted, at whole steps and between."""
    coarse = extract_orbits(
        model, fit_images, layer="encoder", action=ImageRotation(order=STEPS)
    )
    fitter, refined = fit_exact(coarse), fit_exact(coarse, solver="adam")
    fine = extract_orbits(
        model, test_images, layer="encoder", action=ImageRotation(order=2 * STEPS)
    )
    canonical = fine.canonical
    rows = []
    for half_steps in range(1, 2 * STEPS):
        X, t = fine.X[fine.power == half_steps], half_steps / 2
        whole = half_steps % 2 == 0
        rows.append(
            {
                "degrees": 360 / STEPS * t,
                "kind": "at a step of 15 degrees" if whole else "between two steps",
                "r2": 1 - fvu(X, fitter.act(canonical, t)),
                "r2_refined": 1 - fvu(X, refined.act(canonical, t)),
                "identity": 1 - fvu(X, canonical),
                "nearest_step": 1 - fvu(X, fitter.act(canonical, np.floor(t))),
            }
        )
    return pd.DataFrame(rows)


if __name__ == "__main__":
    main()
