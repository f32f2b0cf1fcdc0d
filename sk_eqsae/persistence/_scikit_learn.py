"""What scikit-learn keeps on an instance: set_output, and requests of metadata."""

from typing import Any

from sklearn.base import BaseEstimator
from sklearn.utils._metadata_requests import SIMPLE_METHODS
from sklearn.utils.metadata_routing import MetadataRequest

from .._json import shown

OUTPUT, REQUESTS = "_sklearn_output_config", "_metadata_request"
NAMES = frozenset({OUTPUT, REQUESTS})
_CONTAINERS = ("default", "pandas", "polars")


def requests_as_data(request: MetadataRequest) -> dict[str, dict]:
    """Which metadata each method requests: True, False, None or another name."""
    requests = {name: getattr(request, name).requests for name in SIMPLE_METHODS}
    return {name: dict(of_method) for name, of_method in requests.items() if of_method}


def restore(estimator: BaseEstimator, name: str, value: Any) -> None:
    """Set one of NAMES from plain values of a file."""
    if name == REQUESTS:
        vars(estimator)[name] = _requests(value, estimator)
        return
    if not isinstance(value, dict) or not (
        set(value) <= {"transform"} and all(v in _CONTAINERS for v in value.values())
    ):
        raise ValueError(
            f"the output of transform has to be one of {', '.join(_CONTAINERS)}"
        )
    vars(estimator)[name] = value


def _requests(value: Any, owner: BaseEstimator) -> MetadataRequest:
    if not isinstance(value, dict) or not set(value) <= set(SIMPLE_METHODS):
        raise ValueError("metadata can only be requested by the methods that there are")
    request = MetadataRequest(owner=owner)
    for method, requests in value.items():
        if not isinstance(requests, dict):
            raise ValueError(f"the requests of {method} have to be an object")
        for name, alias in requests.items():
            if not isinstance(alias, bool | str | None):
                raise ValueError(f"{method} cannot request {shown(name)} so")
            getattr(request, method).add_request(param=name, alias=alias)
    return request
