"""One HTML file out of data, a template, a script and a style sheet."""

import base64
import hashlib
import html
import json
import re
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SCRIPTS = ["core.js", "pictures.js", "list.js", "feature.js", "notes.js", "map.js"]
_SCRIPTS.append("start.js")
_LARGEST = 65534  # of a packed share; the number after it is none
_UNSAFE = {ord(c): f"\\u{ord(c):04x}" for c in "<>&"}


def page(data: dict[str, Any]) -> str:
    """HTML that loads nothing and runs no script but its own, known by its hash."""
    parts = {
        "script": "\n".join(_read(name) for name in _SCRIPTS),
        "style": _read("style.css"),
    }
    fill = parts | {
        "title": html.escape(str(data["title"])),
        # JSON that cannot end the script element that it is in
        "data": json.dumps(data, allow_nan=False, separators=(",", ":")).translate(
            _UNSAFE
        ),
        "script-hash": _hash(parts["script"]),
        "style-hash": _hash(parts["style"]),
    }
    return re.sub(r"@@([a-z.-]+)@@", lambda m: fill[m[1]], _read("template.html"))


def _read(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def rounded(values: Any, digits: int = 4) -> Any:
    """Numbers that JSON has, as short as will do; None for what is not finite."""
    if isinstance(values, np.ndarray | list):
        return [rounded(value, digits) for value in values]
    if not np.isfinite(values):
        return None
    short = float(f"{values:.{digits}g}")
    return int(short) if short.is_integer() and abs(short) < 2**53 else short


def packed(shares: NDArray) -> str:
    """Shares from 0 to 1 in base64, two bytes each; the largest number is none."""
    whole = np.where(np.isnan(shares), _LARGEST + 1, np.rint(_LARGEST * shares))
    return base64.b64encode(whole.astype("<u2").tobytes()).decode()
