"""Labels and notes of features, as the page exports them."""

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd

_TEXTS = ["label", "note"]


def read_notes(notes: Any, n_latents: int) -> list[Any]:
    """Notes of a table or of a file that the page wrote, JSON or CSV."""
    if notes is None:
        return []
    if isinstance(notes, str | os.PathLike):
        path = Path(notes)
        if path.suffix == ".csv":
            notes = pd.read_csv(path, keep_default_na=False)
        else:
            notes = json.loads(path.read_text(encoding="utf-8"))
    notes = pd.DataFrame(notes)
    if "latent" not in notes:
        raise ValueError(
            f"notes has the columns {list(notes)}, but needs latent, and label or note."
        )
    latents = pd.to_numeric(notes["latent"])
    if not latents.isin(range(n_latents)).all():
        raise ValueError(
            f"notes are of latents from {latents.min()} to {latents.max()}, but the "
            f"autoencoder has 0 to {n_latents - 1}. Give those of this autoencoder."
        )
    texts = notes.reindex(columns=_TEXTS).astype(object)
    texts = texts.where(texts.notna(), "").astype(str)
    return texts.assign(latent=latents.astype(int)).to_dict("records")
