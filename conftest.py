"""What holds for every test and doctest."""

import matplotlib.pyplot as plt
import pytest


@pytest.fixture(autouse=True)
def figures_are_closed():
    """Displays leave figures open, for users to see; in one process they add up."""
    yield
    plt.close("all")
