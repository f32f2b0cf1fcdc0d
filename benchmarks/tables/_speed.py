"""Tables of benchmarks.speed."""

import json
from pathlib import Path

from .._markdown import markdown

_RESULTS = Path(__file__).parents[1] / "speed" / "results.json"
_CORES = (1, 4, 8, 16, 32)
_WORK = ("fit", "dense", "transform")
_NETWORKS = {
    "paper": "serial: paper recipe",
    "default": "default recipe, dead latents",
    "two_layers": "hidden layer of 512",
    "tied": "tied",
    "orbit": "orbit",
    "dense": "dense loop",
}


def _cases(prefix: str) -> dict:
    """Cases of one kind, ordered by what their names count."""
    every = json.loads(_RESULTS.read_text(encoding="utf-8"))
    sizes = {
        name: tuple(map(int, name.removeprefix(prefix).split("_")))
        for name in every
        if name.startswith(prefix) and not name.endswith("layers")
    }
    return {sizes[name]: every[name] for name in sorted(sizes, key=sizes.get)}


def steps() -> str:
    """Time of a training step, and of others over it."""
    header = [
        *("latents", "batch", "k", "step, paper recipe", "default recipe"),
        *("dense loop", "dense loop, fused Adam", "roofline"),
    ]
    rows = [
        [
            f"{n:,}",
            f"{batch:,}",
            k,
            f"{case['fit_paper_ms']:.1f} ms",
            f"{case['fit_ms'] / case['fit_paper_ms']:.2f}",
            f"{case['dense_ms'] / case['fit_paper_ms']:.1f}",
            f"{case['dense_fused_ms'] / case['fit_paper_ms']:.1f}",
            f"{100 * case['roofline_ms'] / case['fit_paper_ms']:.0f} %",
        ]
        for (n, batch, k), case in _cases("step_").items()
    ]
    return markdown(header, rows)


def many() -> str:
    """Time of fit_many over that of fits in turn."""
    header = [
        *("latents", "features", "batch", "models"),
        *("a sweep over seeds", "over k", "over lr"),
    ]
    rows = [
        [
            f"{n:,}",
            case["n_features"],
            case["batch_size"],
            case["n_models"],
            f"{case['many_ratio']:.2f}",
            f"{case['many_k_ratio']:.2f}",
            f"{case['many_lr_ratio']:.2f}",
        ]
        for (n,), case in _cases("many_").items()
    ]
    return markdown(header, rows)


def tied() -> str:
    """Time of a step of the group-tied autoencoder over a regular one's."""
    rows = [
        [
            f"{n:,}",
            f"{batch:,}",
            f"{case['regular_ms']:.1f} ms",
            f"{case['tied_ratio']:.2f}",
        ]
        for (n, batch), case in _cases("tied_").items()
    ]
    return markdown(["latents", "batch", "regular step", "tied / regular"], rows)


def streamed() -> str:
    """Time of an epoch over rows on the disk."""
    case = json.loads(_RESULTS.read_text(encoding="utf-8"))["streamed"]
    header = [
        "one epoch of 122,880 rows of 512 features, 1,024 latents, a buffer of a "
        "sixteenth of the rows",
        f"time over that of an array, median of {case['rounds']} rounds",
    ]
    names = {
        "memory map, float32": "memmap",
        "shards, float32": "shards",
        "shards, float16": "half",
    }
    rows = [[name, f"{case[f'{key}_ratio']:.2f}"] for name, key in names.items()]
    return markdown(header, rows)


def threads() -> str:
    """Time that work takes where torch may use two threads, over that on one."""
    header = ["latents", "features", "batch", "fit", "dense loop", "transform"]
    rows = [
        [
            f"{case['n_components']:,}",
            *(str(case[key]) for key in ("n_features", "batch_size")),
            *(f"{case[f'{work}_of_2_ratio']:.2f}" for work in _WORK),
        ]
        for case in _cases("threads_").values()
    ]
    return markdown(header, rows)


def cores() -> str:
    """Share of a step that one core does, whatever their number."""
    header = ["latents", "batch", "k", "step, one core", *_NETWORKS.values()]
    rows = [
        [
            *(f"{size:,}" for size in sizes),
            f"{case['default']['cpu_ms']:.1f} ms",
            *(f"{100 * case[name]['serial_share']:.0f} %" for name in _NETWORKS),
        ]
        for sizes, case in _cases("cores_").items()
    ]
    return markdown(header, rows)


def cores_ahead() -> str:
    """Time of a dense loop over a step's on some cores, by Amdahl's law."""
    on = [f"{n} core{'s' * (n > 1)}" for n in _CORES]
    header = ["latents", "batch", "k", *on]
    rows = [
        [
            *(f"{size:,}" for size in sizes),
            *(
                f"{_on_cores(case['dense'], n) / _on_cores(case['paper'], n):.1f}"
                for n in _CORES
            ),
        ]
        for sizes, case in _cases("cores_").items()
    ]
    return markdown(header, rows)


def orbits() -> str:
    """Processor time of a step with latent orbits over a regular one."""
    rows = [
        [
            *(f"{size:,}" for size in sizes),
            *(
                f"{case[name]['cpu_ms'] / case['default']['cpu_ms']:.2f}"
                for name in ("tied", "orbit")
            ),
        ]
        for sizes, case in _cases("cores_").items()
    ]
    return markdown(["latents", "batch", "k", "tied", "orbit"], rows)


def _on_cores(case: dict, n: int) -> float:
    return case["serial_ms"] + case["parallel_ms"] / n
