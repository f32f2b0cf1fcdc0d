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
        What the result of a part depends on beside its name and the settings.

    Raises
    ------
    ValueError
        If the folder holds results of other settings.
    """

    def __init__(
        self, folder: Path, settings: dict, of_parts: dict | None = None
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "settings.json"
        settings, of_parts = _as_read(settings), _as_read(of_parts or {})
        kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        kept_of_parts = kept.pop("parts", {})
        shared = kept_of_parts.keys() & of_parts.keys()
        changed = [name for name in shared if kept_of_parts[name] != of_parts[name]]
        if kept not in ({}, settings) or any(name in self for name in changed):
            raise ValueError(
                f"{folder} holds results of other settings (settings.json). Give "
                "another --out, or --fresh to delete them and begin anew."
            )
        settings["parts"] = kept_of_parts | of_parts
        with atomic_write(path) as part:
            part.write_text(json.dumps(settings, indent=1), encoding="utf-8")

    def __contains__(self, name: str) -> bool:
        return (self.folder / name).is_dir()

    def write(self, name: str, tables: dict, figures: dict) -> None:
        """Keep the tables and figures of a part.

        Parameters
        ----------
        name : str
            The part.
        tables : dict of pandas.DataFrame
            Its tables.
        figures : dict of matplotlib Figure
            Its figures.
        """
        unfinished = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=self.folder))
        for title, table in tables.items():
            with atomic_write(unfinished / _file(title)) as part:
                table.to_csv(part, index=False, compression=_compression(title))
        for title, figure in figures.items():
            with atomic_write(unfinished / f"{title}.png") as part:
                figure.savefig(part, dpi=150, bbox_inches="tight")
        unfinished.chmod(0o755)
        if name in self:  # another run in the same folder was faster
            shutil.rmtree(unfinished)
        else:
            unfinished.rename(self.folder / name)

    def read(self, title: str, names: list) -> pd.DataFrame:
        """Put one table of several parts together.

        Parameters
        ----------
        title : str
            The table.
        names : list of str
            The parts; those without such a table are left out.

        Returns
        -------
        table : pandas.DataFrame
            All rows, in the order of the names.
        """
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


def _as_read(settings):
    """Settings as they come out of their file: tuples become lists."""
    return json.loads(json.dumps(settings))


def _file(title):
    return f"{title}.csv.gz" if title in _LONG else f"{title}.csv"


def _compression(title):
    return {"method": "gzip", "mtime": 1} if title in _LONG else None
