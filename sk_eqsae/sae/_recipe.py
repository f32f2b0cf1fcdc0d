"""The two ways to train: what the recipe parameter stands for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """Settings of one training recipe.

    Attributes
    ----------
    normalize : bool
        Centre rows by the mean and divide them by one global root mean square.
    tied_init : bool
        Start a linear encoder as the decoder's transpose, biases at zero.
    unit_rows : bool
        Scale dictionary vectors to norm 1 after each step.
    lr_decay : float
        Share of the steps, at the end, over which lr falls linearly to zero.
    batch_size, max_epochs : int
        Defaults of the parameters of the same name.
    """

    normalize: bool
    tied_init: bool
    unit_rows: bool
    lr_decay: float
    batch_size: int
    max_epochs: int


RECIPES = {
    "default": Recipe(
        normalize=True,
        tied_init=True,
        unit_rows=True,
        lr_decay=0.3,
        batch_size=256,
        max_epochs=200,
    ),
    # Appendix C.3 of the paper
    "paper": Recipe(
        normalize=False,
        tied_init=False,
        unit_rows=False,
        lr_decay=0.0,
        batch_size=64,
        max_epochs=500,
    ),
}
