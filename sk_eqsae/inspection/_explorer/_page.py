"""One HTML file out of data, a template, a script and a style sheet."""

import base64
import hashlib
import html
import json
import re
from importlib.resources import files
from typing import Any

_UNSAFE = {ord(c): f"\\u{ord(c):04x}" for c in "<>&"}


def page(data: dict[str, Any]) -> str:
    """HTML that loads nothing and runs no script but its own, known by its hash."""
    parts = {name: _read(name) for name in ("app.js", "style.css")}
    fill = parts | {
        "title": html.escape(str(data["title"])),
        "data": _embedded(data),
        "script-hash": _hash(parts["app.js"]),
        "style-hash": _hash(parts["style.css"]),
    }
    return re.sub(r"@@([a-z.-]+)@@", lambda m: fill[m[1]], _read("template.html"))


def _read(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _embedded(data: dict[str, Any]) -> str:
    """JSON that cannot end the script element that it is in."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.translate(_UNSAFE)


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
