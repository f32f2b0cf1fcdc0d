"""Memory of this process, as Linux tells it."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SAMPLE_SECONDS = 0.05


def resident(name: str = "VmHWM") -> float:
    """An entry of /proc/self/status in MB: the highest resident memory so far.

    Not ru_maxrss, which begins with that of the process that started this one.
    """
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"{name}:\s+(\d+) kB", status).group(1)) * 1024 / 1e6


@contextmanager
def watched() -> Iterator[dict[str, float]]:
    """Highest of the process's own pages and of mapped files, sampled meanwhile.

    Pages of mapped files count as resident, and the system can take them back at any
    time.
    """
    names = {"anonymous_mb": "RssAnon", "mapped_mb": "RssFile"}
    peaks, done = dict.fromkeys(names, 0.0), threading.Event()

    def sample():
        finished = False
        while not finished:
            now = {name: resident(entry) for name, entry in names.items()}
            peaks.update({name: max(peaks[name], now[name]) for name in now})
            finished = done.wait(SAMPLE_SECONDS)

    watch = threading.Thread(target=sample)
    watch.start()
    try:
        yield peaks
    finally:
        done.set()
        watch.join()
