"""All settings, one table per profile."""

from dataclasses import dataclass

from sk_eqsae import EquivariantSAE, GroupTiedSAE, TopKSAE

SAES = {
    "regular": (TopKSAE, {}),
    "wide": (TopKSAE, {"width": 4}),
    "two-layer": (TopKSAE, {"hidden_dim": 512}),
    "equivariant": (EquivariantSAE, {"order": 4, "hidden_dim": 512}),
    # not the paper's: as many latents as the regular one
    "group-tied": (GroupTiedSAE, {"order": 4, "width": 1 / 4}),
}


@dataclass(frozen=True)
class Cell:
    """One autoencoder to train.

    Parameters
    ----------
    base : str
        Base model, "mlp" or "cnn".
    orientation : str
        How shapes are turned in canonical images, "upright" or "random".
    sae : str
        Key of SAES.
    k : int
        Latents kept per row.
    recipe : str
        Recipe of the autoencoder.
    probed : bool
        Whether its latents and truncated reconstructions are probed.
    """

    base: str
    orientation: str
    sae: str
    k: int
    recipe: str = "default"
    probed: bool = False


@dataclass(frozen=True)
class Profile:
    """How much of everything.

    Parameters
    ----------
    n_images : int
        Images per reading of the canonical orientation.
    base_epochs : dict
        Epochs of each base model.
    adam_epochs : int
        Epochs of M by gradient descent.
    n_components : int
        Latents of the regular autoencoder; the wide one has 4 times as many.
    sae_epochs : dict
        Epochs of each recipe.
    truncation : int
        Latents kept for a probe.
    tasks_per_kind : int or None
        Tasks of each kind that are probed; None is all.
    probe_rows : tuple of int
        Most training and test rows of a probe.
    cells : tuple of Cell
        Autoencoders to train.
    test_size : float
        Share of base images held out.
    seed : int
        Seed of everything.
    """

    n_images: int
    base_epochs: dict
    adam_epochs: int
    n_components: int
    sae_epochs: dict
    truncation: int
    tasks_per_kind: int | None
    probe_rows: tuple
    cells: tuple
    test_size: float = 0.2
    seed: int = 0

    @property
    def models(self):
        """Pairs of base model and orientation, in order."""
        return tuple(dict.fromkeys((c.base, c.orientation) for c in self.cells))


def _grid(ks, probed_ks):
    """Every autoencoder on the paper's reading, then what the paper leaves open."""
    upright = [
        Cell(base, "upright", sae, k, probed=k in probed_ks)
        for base in ("mlp", "cnn")
        for k in ks
        for sae in SAES
    ]
    plain = [
        Cell(base, "upright", sae, ks[0], recipe="paper")
        for base in ("mlp", "cnn")
        for sae in ("regular", "equivariant")
    ]
    random = [
        Cell("mlp", "random", sae, ks[0], recipe=recipe)
        for sae in ("regular", "equivariant", "group-tied")
        for recipe in ("default", "paper")
    ]
    return tuple(upright + plain + random)


PROFILES = {
    "smoke": Profile(
        n_images=320,
        base_epochs={"mlp": 6, "cnn": 3},
        adam_epochs=10,
        n_components=256,
        sae_epochs={"default": 5, "paper": 2},
        truncation=8,
        tasks_per_kind=1,
        probe_rows=(600, 300),
        cells=_grid(ks=(8,), probed_ks=(8,)),
    ),
    "quick": Profile(
        n_images=10_000,
        base_epochs={"mlp": 36, "cnn": 9},
        adam_epochs=150,
        n_components=2_048,
        sae_epochs={"default": 12, "paper": 4},
        truncation=32,
        tasks_per_kind=4,
        probe_rows=(4_000, 2_000),
        cells=_grid(ks=(8, 32), probed_ks=(8,)),
    ),
    "full": Profile(
        n_images=10_000,
        base_epochs={"mlp": 100, "cnn": 100},
        adam_epochs=150,
        n_components=2_048,
        sae_epochs={"default": 200, "paper": 500},
        truncation=32,
        tasks_per_kind=None,
        probe_rows=(32_000, 8_000),
        cells=_grid(ks=(8, 16, 32), probed_ks=(8, 16, 32)),
    ),
}
