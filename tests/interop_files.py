"""Files and outputs of other libraries, to be kept: python -m tests.interop_files.

Needs the extra "interop". With the kept files, equality with the libraries is tested
where they are not installed.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from sk_eqsae import export, load
from tests.peers import FORMATS, format_of, outputs, rows, write_all
from tests.persistence_files import FOLDER as OURS

FOLDER = Path(__file__).parent / "data" / "interop"
EXPORTED = ["top_k", "group_tied"]  # of tests/data/persistence


def kept(name):
    """One of our own fitted estimators that are kept."""
    return load(OURS / f"{name}.safetensors")


def main() -> None:
    """Write what the libraries write, and what they make of our exports."""
    FOLDER.mkdir(parents=True)
    found = {"X": rows()}
    for name in write_all(FOLDER):
        Z, X_hat = outputs(format_of(name), FOLDER / name, rows())
        found |= {f"{name}_encoded": Z, f"{name}_decoded": X_hat}
    with TemporaryDirectory() as temporary:
        for name in EXPORTED:
            for format in FORMATS:
                folder = Path(temporary) / f"{name}_to_{format}"
                export(kept(name), folder, format=format)
                Z, X_hat = outputs(format, folder, rows())
                found |= {f"{folder.name}_encoded": Z, f"{folder.name}_decoded": X_hat}
    np.savez_compressed(FOLDER / "outputs.npz", **found)


if __name__ == "__main__":
    main()
