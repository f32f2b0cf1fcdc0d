"""What scikit-learn keeps on an instance: set_output, and requests of metadata."""

from typing import Any

from sklearn.base import BaseEstimator
from sklearn.utils._metadata_requests import SIMPLE_METHODS
from sklearn.utils.metadata_routing import MetadataRequest

from .._container import shown

OUTPUT, REQUESTS = "_sklearn_output_config", "_metadata_request"
NAMES = frozenset({OUTPUT, REQUESTS})


def requests_as_data(request: MetadataRequest) -> dict[str, dict]:
    """Write as plain values which metadata each method requests.

    Parameters
    ----------
    request : MetadataRequest
        What set_fit_request and the like have made.

    Returns
    -------
    requests : dict of dict
        By method and by metadata: True, False, None or another name.
    """
    requests = {name: getattr(request, name).requests for name in SIMPLE_METHODS}
    return {name: dict(of_method) for name, of_method in requests.items() if of_method}


def restore(estimator: BaseEstimator, name: str, value: Any) -> None:
    """Set one of NAMES from plain values.

    Parameters
    ----------
    estimator : estimator
        Whose.
    name : str
        One of NAMES.
    value : object
        From a file.

    Raises
    ------
    ValueError
        If scikit-learn could not have set this.
    """
    if name == OUTPUT:
        _check_output(value)
    else:
        value = _requests(value, estimator)
    vars(estimator)[name] = value


def _check_output(config: Any) -> None:
    containers = ["default", "pandas", "polars"]
    if not isinstance(config, dict) or not (
        set(config) <= {"transform"} and all(v in containers for v in config.values())
    ):
        raise ValueError(
            f"the output of transform has to be one of {', '.join(containers)}"
        )


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
