"""Size and speed of a large page of `explore`: python -m benchmarks.explorer."""

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from statistics import median

import pandas as pd
import torch
from playwright.sync_api import Page, sync_playwright

from sk_eqsae import GroupTiedSAE, explore, extract_orbits, make_shapes, shape_tasks
from sk_eqsae.groups import ImageRotation
from sk_eqsae.persistence import atomic_write

N_FEATURES, N_IMAGES, WIDTH = 4_096, 2_000, 256
ROUNDS = 7
DONE = "await new Promise(end => requestAnimationFrame(() => setTimeout(end)))"
_TYPED = "element.dispatchEvent(new Event('input', {bubbles: true}))"


def _typed(field: str, value: str) -> str:
    chosen = f"const element = document.querySelector('{field}')"
    return f"{chosen}; element.value = '{value}'; {_TYPED}"


def _clicked(what: str) -> str:
    return f"document.querySelector('{what}').click()"


ACTIONS = {  # what a reader does
    "sort": _clicked("#head [data-key=density] button"),
    "page": _clicked("#next"),
    "search": _typed("#query", "1"),
    "class": _typed("#class", "3"),
    "feature": "location.hash = '#feature=12'",
    "orbits": _clicked("#feature summary"),
    "note": _typed("#feature .notes input", "a corner"),
    "next": _clicked("#feature nav [aria-keyshortcuts=ArrowRight]"),
    "compare": "location.hash = '#feature=12&compare=40'",
    "input": "location.hash = '#input=5&sort=here'",
    "all": "location.hash = '#state=all&per=latents'",
    "map": _clicked("#map-box summary"),
}


def main() -> None:
    """Write a page, look at it in headless Chromium and store what it took."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.explorer")
    parser.add_argument("--out", type=Path, default=Path("reports/explorer.json"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        page = write(Path(folder) / "features.html")
        cases = {"page": {"megabytes": page.stat().st_size / 1e6}} | measured(page)
    cases = {
        case: {name: round(value, 3) for name, value in found.items()}
        for case, found in cases.items()
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(args.out) as part:
        part.write_text(json.dumps(cases, indent=2) + "\n", encoding="utf-8")
    print(cases)


def write(path: Path) -> Path:
    """Write a page of many features of a network with random weights."""
    shapes, tasks = make_shapes(N_IMAGES, random_state=0), shape_tasks()
    images = torch.from_numpy(shapes.images)
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(images[0].numel(), WIDTH), torch.nn.ReLU()
    )
    action = ImageRotation(order=4)
    orbits = extract_orbits(network, images, layer="2", action=action)
    sae = GroupTiedSAE(N_FEATURES, k=32, max_epochs=2, random_state=0)
    sae.fit(orbits.X, **orbits.metadata)
    labels = tasks.label_matrix(shapes, groups=orbits.groups, power=orbits.power)
    table = pd.DataFrame(labels, columns=tasks.names)
    return explore(sae, orbits, images, action=action, labels=table, path=path)


def measured(path: Path) -> dict[str, dict[str, float]]:
    """Milliseconds until an action is on the screen, medians over rounds.

    Once on the clock, and once in processor time of the page's main thread, in which
    waiting for other work and for the next frame does not count; where cores are shared
    it still slows both down.
    """
    times: dict[str, dict[str, list[float]]] = {"clock": {}, "processor": {}}
    with sync_playwright() as running:
        browser = running.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for _ in range(ROUNDS):
            tab = browser.new_page(viewport={"width": 1400, "height": 900})
            clock = _Clock(tab)
            tab.goto(path.as_uri())
            _note(times, "shown", tab.evaluate(_timed("const start = 0")), clock.lap())
            for name, script in ACTIONS.items():
                timed = _timed(f"const start = performance.now(); {script}")
                _note(times, name, tab.evaluate(timed), clock.lap())
            tab.close()
        browser.close()
    return {case: _medians(found) for case, found in times.items()}


def _timed(script: str) -> str:
    """Run a script, wait for what comes of it, and tell the time since `start`."""
    return f"async () => {{ {script}; {DONE}; return performance.now() - start }}"


def _note(times: dict, name: str, clock: float, processor: float) -> None:
    times["clock"].setdefault(name, []).append(clock)
    times["processor"].setdefault(name, []).append(processor)


def _medians(times: dict[str, list[float]]) -> dict[str, float]:
    found = {f"{name}_ms": median(values) for name, values in times.items()}
    actions = [found[f"{name}_ms"] for name in ACTIONS]
    return found | {"quickest_ms": min(actions), "slowest_ms": max(actions)}


class _Clock:
    """Processor time of a tab's main thread."""

    def __init__(self, tab: Page) -> None:
        self._session = tab.context.new_cdp_session(tab)
        self._session.send("Performance.enable", {"timeDomain": "threadTicks"})
        self._last = self._now()

    def lap(self) -> float:
        """Milliseconds since the last lap."""
        before, self._last = self._last, self._now()
        return 1e3 * (self._last - before)

    def _now(self) -> float:
        metrics = self._session.send("Performance.getMetrics")["metrics"]
        return {m["name"]: m["value"] for m in metrics}["TaskDuration"]


if __name__ == "__main__":
    main()
