"""What all tasks share, on a cluster of dask."""

import pickle
import warnings
from typing import Any

from joblib.parallel import get_active_backend


def keep_on_cluster(shared: Any) -> Any:
    """What tasks share, or a future of it that workers replace by their one copy."""
    # Left alone, joblib's dask backend sends it with every task; what its `scatter`
    # keeps is lost with a worker, but the result of a task is made again.
    backend, _ = get_active_backend()
    client = getattr(backend, "client", None)  # only that of dask has one
    if client is None:
        return shared
    import cloudpickle  # noqa: PLC0415  (comes with dask)

    with warnings.catch_warnings():
        # to send it once is what this is for
        warnings.filterwarnings("ignore", "Sending large graph", UserWarning)
        return client.submit(pickle.loads, cloudpickle.dumps(shared), pure=False)
