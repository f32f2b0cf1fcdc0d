"""An installed package, without the sources, has all that it needs."""

from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import sk_eqsae
from sk_eqsae import TopKSAE, explore

if __name__ == "__main__":
    assert "site-packages" in sk_eqsae.__file__, sk_eqsae.__file__
    assert files("sk_eqsae").joinpath("py.typed").is_file()
    X = np.random.default_rng(0).normal(size=(64, 4))
    sae = TopKSAE(8, k=2, max_epochs=2, random_state=0).fit(X)
    with TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        explore(sae, X, path=page)
        assert "<html" in page.read_text(encoding="utf-8")
    print(f"sk_eqsae {sk_eqsae.__version__} works as installed")
