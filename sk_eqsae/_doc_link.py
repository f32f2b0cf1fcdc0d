"""Where an estimator's page is, for the question mark of its HTML repr."""

from typing import Any

SITE = "https://sk-eqsae.readthedocs.io/en/stable"


class DocLinkMixin:
    """Links an estimator's HTML repr to its page in the reference."""

    _doc_link_module = "sk_eqsae"
    _doc_link_template = SITE + "/generated/{page}.html"

    def _doc_link_url_param_generator(self) -> dict[str, Any]:
        room, name = type(self).__module__.split("._")[0], type(self).__name__
        # pages of the package's own names do not say the room
        page = f"{room}.{name}" if name == "PoseCanonicalizer" else f"sk_eqsae.{name}"
        return {"page": page}
