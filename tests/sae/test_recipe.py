import math

import numpy as np
import pytest

from sk_eqsae.sae import Recipe


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("normalize", 2),
        ("lr_decay", 1.5),
        ("lr_decay", -0.1),
        ("max_grad_norm", -1.0),
        ("max_grad_norm", 0.0),
        ("aux_weight", -1),
        ("aux_weight", math.nan),
        ("aux_k", 0),
        ("consistency_weight", -0.1),
        ("dead_after", 0),
    ],
)
def test_values_out_of_range_are_errors(name, value):
    with pytest.raises(ValueError, match=f"The '{name}' parameter of Recipe must be"):
        Recipe(**{name: value})


def test_values_at_the_ends_of_their_ranges_are_taken():
    recipe = Recipe(max_grad_norm=math.inf, lr_decay=1, aux_k=np.int64(1))
    assert recipe.max_grad_norm == math.inf
