"""Links to the glossary, where a page first uses a word of it."""

import re

from docutils import nodes
from sphinx.addnodes import pending_xref

# Words that mean something else in plain sentences, too, are linked by hand.
WORDS = {
    "FVU": "FVU",
    "R2 of M": "R2 of M",
    "code equivariance": "code equivariance",
    "latent orbits?": "latent orbit",
    "latents?": "latent",
    "dictionar(?:y|ies)": "dictionary",
    "activations?": "activation",
    "orbits?": "orbit",
    "sites?": "site",
    "canonical": "canonical",
    "poses?": "pose",
    "dead": "dead",
    "F1": "F1",
    "S(?:P|O|PO)": "S, SP, SO, SPO",
    "default recipe": "default recipe",
    "paper recipe": "paper recipe",
}
_ANY = re.compile(rf"\b(?:{'|'.join(f'({word})' for word in WORDS)})\b")
_OUTSIDE = (nodes.title, nodes.reference, nodes.literal, nodes.literal_block)
_OUTSIDE += (pending_xref, nodes.math, nodes.math_block, nodes.raw, nodes.table)


def link_words(document: nodes.document) -> None:
    """Link the first use of each word in running text that is not linked yet."""
    seen = {node["reftarget"] for node in document.findall(pending_xref)}
    for text in list(document.findall(nodes.Text)):
        if _is_running(text):
            parts = list(_parts(str(text), seen))
            if len(parts) > 1:
                text.parent.replace(text, parts)


def _is_running(text: nodes.Text) -> bool:
    node, inside = text.parent, False
    while node is not None:
        if isinstance(node, _OUTSIDE):
            return False
        inside |= isinstance(node, nodes.paragraph)
        node = node.parent
    return inside


def _parts(text: str, seen: set[str]):
    end = 0
    for match in _ANY.finditer(text):
        target = list(WORDS.values())[match.lastindex - 1]
        if target not in seen:
            seen.add(target)
            yield nodes.Text(text[end : match.start()])
            yield _term(match[0], target)
            end = match.end()
    yield nodes.Text(text[end:])


def _term(text: str, target: str) -> pending_xref:
    of = {"refdomain": "std", "reftype": "term", "reftarget": target}
    shown = nodes.inline("", text, classes=["xref", "std", "std-term"])
    return pending_xref("", shown, refexplicit=True, refwarn=True, **of)
