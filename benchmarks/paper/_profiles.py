"""All settings, one table per profile."""

from dataclasses import asdict, dataclass
from typing import NamedTuple

from sk_eqsae import EquivariantSAE, GroupTiedSAE, TopKSAE

SAES = {
    "regular": (TopKSAE, {}),
    "wide": (TopKSAE, {"width": 4}),
    "two-layer": (TopKSAE, {"hidden_dim": 512}),
    "equivariant": (EquivariantSAE, {"symmetry": 4, "hidden_dim": 512}),
    "group-tied": (GroupTiedSAE, {"symmetry": 4}),  # not the paper's
}
PROBES = ("knn", "logistic", "xgboost")


class Model(NamedTuple):
    """One base model and its activations.

    Parameters
    ----------
    base : str
        "mlp" or "cnn".
    orientation : str
        How shapes are turned in canonical images, "upright" or "random".
    seed : int
        Seed of images, split, weights and all that is fitted to the activations.
    """

    base: str
    orientation: str
    seed: int = 0

    @property
    def name(self) -> str:
        """Name of its results."""
        return f"{self.base}-{self.orientation}-s{self.seed}"


@dataclass(frozen=True)
class Cell:
    """One autoencoder to train.

    Parameters
    ----------
    model : Model
        Whose activations it is trained on.
    sae : str
        Key of SAES.
    k : int
        Latents kept per row.
    recipe : str
        Recipe of the autoencoder.
    probes : tuple of str
        Probes of its latents and truncated reconstructions.
    truncations : tuple of int
        Numbers of latents that the probes are given.
    """

    model: Model
    sae: str
    k: int
    recipe: str = "default"
    probes: tuple = ()
    truncations: tuple = ()

    @property
    def name(self) -> str:
        """Name of its results."""
        return f"{self.model.name}-{self.recipe}-k{self.k}-{self.sae}"


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
        Epochs of each recipe, over all four rotations of the training images.
    batch_sizes : dict
        Rows per step of each recipe.
    tasks_per_kind : int or None
        Tasks of each kind that are probed; None is all.
    probe_rows : tuple of int
        Most training, validation and test rows of a probe.
    cells : tuple of Cell
        Autoencoders to train, the most wanted first.
    more_models : tuple of Model
        Base models for M alone.
    test_size : float
        Share of base images held out.
    """

    n_images: int
    base_epochs: dict
    adam_epochs: int
    n_components: int
    sae_epochs: dict
    batch_sizes: dict
    tasks_per_kind: int | None
    probe_rows: tuple
    cells: tuple
    more_models: tuple = ()
    test_size: float = 0.2

    @property
    def models(self) -> tuple:
        """Base models, in order."""
        return tuple(dict.fromkeys((*(c.model for c in self.cells), *self.more_models)))

    @property
    def probed(self) -> dict[str, dict]:
        """How each part is probed, by its name, which does not say it."""
        of_cells = {
            cell.name: {"probes": cell.probes, "truncations": cell.truncations}
            for cell in self.cells
        }
        return of_cells | {
            model.name: {"probes": self.probes_of(model)} for model in self.models
        }

    def probes_of(self, model: Model) -> tuple:
        """Probes of the activations of a base model: all that its cells have."""
        of_cells = [cell.probes for cell in self.cells if cell.model == model]
        return max(of_cells, key=len, default=())

    @property
    def settings(self) -> dict:
        """What every result depends on: all but the list of results."""
        return {
            name: value
            for name, value in asdict(self).items()
            if name not in ("cells", "more_models")
        }


BASES = ("cnn", "mlp")


def _cells(orientation, ks, *, seed=0, bases=BASES, saes=SAES, **settings):
    """Autoencoders of all kinds on one reading, k by k."""
    return [
        Cell(Model(base, orientation, seed), sae, k, **settings)
        for k in ks
        for base in bases
        for sae in saes
    ]


def _samples_of_the_recipes(k, **probed):
    """Plain recipe and harder reading, one k, for the smaller profiles."""
    plain = _cells("upright", (k,), saes=("regular", "equivariant"), recipe="paper")
    saes = ("regular", "equivariant", "group-tied")
    random = [
        cell
        for recipe in ("default", "paper")
        for cell in _cells("random", (k,), bases=("mlp",), saes=saes, recipe=recipe)
    ]
    return [*_cells("upright", (k,), **probed), *plain, *random]


_ALL = {"probes": PROBES, "truncations": (8, 32)}
_PART = {"probes": ("xgboost",), "truncations": (32,)}

_COMPARED = ("regular", "wide", "equivariant")
_NOT_WIDE = ("regular", "two-layer", "equivariant", "group-tied")

_BATCH_SIZES = {"default": 256, "paper": 64}

PROFILES = {
    "smoke": Profile(
        n_images=320,
        base_epochs={"mlp": 6, "cnn": 3},
        adam_epochs=10,
        n_components=256,
        sae_epochs={"default": 5, "paper": 2},
        batch_sizes=_BATCH_SIZES,
        tasks_per_kind=1,
        probe_rows=(500, 100, 300),
        cells=tuple(_samples_of_the_recipes(8, probes=PROBES, truncations=(8,))),
    ),
    "quick": Profile(
        n_images=10_000,
        base_epochs={"mlp": 36, "cnn": 9},
        adam_epochs=150,
        n_components=2_048,
        sae_epochs={"default": 12, "paper": 4},
        batch_sizes=_BATCH_SIZES,
        tasks_per_kind=4,
        probe_rows=(4_000, 1_000, 2_000),
        cells=(
            *_samples_of_the_recipes(8, probes=PROBES, truncations=(32,)),
            *_cells("upright", (32,)),
        ),
    ),
    # The paper's own settings. Its 500 epochs over 10,000 samples are as many rows as
    # 156 epochs over the four rotations of 8,000 training images.
    "full": Profile(
        n_images=10_000,
        base_epochs={"mlp": 100, "cnn": 100},
        adam_epochs=150,
        n_components=2_048,
        sae_epochs={"default": 156, "paper": 156},
        batch_sizes=_BATCH_SIZES,
        tasks_per_kind=None,
        probe_rows=(5_000, 1_000, 4_000),
        cells=(
            *_cells("upright", (8, 32, 16), **_ALL),
            *_cells("upright", (8, 32), recipe="paper", **_PART),
            *_cells("upright", (16,), recipe="paper", saes=_COMPARED, **_PART),
            *_cells("random", (8, 32), saes=_NOT_WIDE, **_PART),
            *_cells("upright", (8, 32), seed=1, bases=("cnn",), **_PART),
        ),
        more_models=tuple(
            Model(base, "upright", seed) for seed in (1, 2) for base in BASES
        ),
    ),
}
