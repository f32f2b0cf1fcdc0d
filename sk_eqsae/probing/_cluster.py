"""What all tasks share, on a cluster of dask."""

import pickle
import warnings
from typing import Any

from joblib.parallel import get_active_backend


def keep_on_cluster(shared: Any) -> Any:
    """Let a cluster of dask keep what tasks share, if the tasks will go to one.

    Left alone, joblib's dask backend sends it again with every task. Its `scatter`
    would do so once, but soon drops all copies but one, which is lost for ever if its
    worker dies. As the result of a task it is made again from the scheduler's bytes,
    however many workers die.

    Parameters
    ----------
    shared : object
        What tasks take as an argument.

    Returns
    -------
    shared : object or distributed.Future
        A future, which the tasks' workers replace by their one copy of the object;
        the object itself without a cluster.
    """
    backend, _ = get_active_backend()
    client = getattr(backend, "client", None)  # only that of dask has one
    if client is None:
        return shared
    import cloudpickle  # noqa: PLC0415  (comes with dask)

    with warnings.catch_warnings():
        # to send it once is what this is for
        warnings.filterwarnings("ignore", "Sending large graph", UserWarning)
        return client.submit(pickle.loads, cloudpickle.dumps(shared), pure=False)
