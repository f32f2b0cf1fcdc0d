"""Results on disk: one folder a part, put in place at once."""

import json
import shutil
import tempfile
import time
from pathlib import Path

import pandas as pd

from sk_eqsae.persistence import atomic_write

_LONG = {"probes"}  # tables that are kept compressed
_AN_HOUR = 3600
_OF_PART = "part.json"


class Store:
    """Tables of finished parts.

    A part is there as a whole or not at all, whenever the run is killed.

    Parameters
    ----------
    folder : pathlib.Path
        Where the parts are.
    settings : dict
        What all results depend on.
    of_parts : dict of dict, default=None
        What the result of a part depends on beside its name and the settings. It is
        kept with the part.

    Raises
    ------
    ValueError
        If the folder holds results of other settings.
    """

    def __init__(
        self, folder: Path, settings: dict, of_parts: dict | None = None
    ) -> None:
        self.folder = folder
        self.of_parts = of_parts or {}
        folder.mkdir(parents=True, exist_ok=True)
        path, text = folder / "settings.json", json.dumps(settings, indent=1)
        if path.exists() and path.read_text(encoding="utf-8") != text:
            raise ValueError(
                f"{folder} holds results of other settings (settings.json). Give "
                "another --out, or --fresh to delete them and begin anew."
            )
        with atomic_write(path) as part:
            part.write_text(text, encoding="utf-8")
        for name in self.of_parts:
            self._check(name)

    def _check(self, name: str) -> None:
        path = self.folder / name / _OF_PART
        if path.exists() and path.read_text(encoding="utf-8") != self._text(name):
            raise ValueError(
                f"{path.parent} holds a result of other settings ({_OF_PART}). Delete "
                "this folder to compute it again, or give another --out."
            )

    def _text(self, name: str) -> str:
        return json.dumps(self.of_parts.get(name, {}), indent=1)

    def __contains__(self, name: str) -> bool:
        return (self.folder / name).is_dir()

    def write(self, name: str, tables: dict, figures: dict) -> None:
        """Keep the tables and figures of a part."""
        unfinished = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=self.folder))
        for title, table in tables.items():
            with atomic_write(unfinished / _file(title)) as part:
                table.to_csv(part, index=False, compression=_compression(title))
        for title, figure in figures.items():
            with atomic_write(unfinished / f"{title}.png") as part:
                figure.savefig(part, dpi=150, bbox_inches="tight")
        with atomic_write(unfinished / _OF_PART) as part:
            part.write_text(self._text(name), encoding="utf-8")
        unfinished.chmod(0o755)
        try:
            unfinished.rename(self.folder / name)
        except OSError:
            if name not in self:
                raise
            shutil.rmtree(unfinished)  # another run in the same folder was faster

    def read(self, title: str, names: list) -> pd.DataFrame:
        """Put one table of several parts together, of those that have it."""
        paths = [self.folder / name / _file(title) for name in names]
        tables = [
            pd.read_csv(path, compression=_compression(title))
            for path in paths
            if path.exists()
        ]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    def sweep(self) -> None:
        """Remove what a kill has left behind, and no other run is writing at."""
        for path in self.folder.glob(".*.*"):
            if path.is_dir() and time.time() - path.stat().st_mtime > _AN_HOUR:
                shutil.rmtree(path)


def _file(title):
    return f"{title}.csv.gz" if title in _LONG else f"{title}.csv"


def _compression(title):
    return {"method": "gzip", "mtime": 1} if title in _LONG else None
