"""Time the package: python -m benchmarks.speed."""

import argparse
import json
import os
import platform
from functools import partial
from itertools import product
from pathlib import Path

import torch

from sk_eqsae.persistence import atomic_write

from . import _big_data, _cases, _cores, _device, _extraction, _symmetry

TIED_STEPS = [
    (128, 256),
    (512, 256),
    (2048, 64),
    (2048, 256),
    (2048, 1024),
    (8192, 256),
]
# latents, features
ON_A_DEVICE = list(product((2**11, 2**13, 2**15, 2**17), (256, 1024, 4096)))
# latents, features, batch size, from too little for two threads to enough
THREADS = [(64, 16, 64), (256, 64, 64), (512, 128, 256), (2048, 256, 256)]
# latents, features, batch size, models
MANY = [(64, 16, 64, 8), (256, 64, 64, 8), (512, 128, 256, 8), (2048, 256, 64, 4)]


def main() -> None:
    """Run the cases, print them and store them as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--cases", default="", help="only those whose name begins so, such as step_2048"
    )
    parser.add_argument(
        "--large",
        action="store_true",
        help="also a fit of 500 epochs, M of a file of 3.3 GB, and a fit of 20 GB",
    )
    parser.add_argument(
        "--device", help="steps on this device, such as cuda, and nothing else"
    )
    parser.add_argument("--out", type=Path, default=Path("reports/speed.json"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    results = json.loads(args.out.read_text()) if args.out.exists() else {}
    cases = (
        _steps_on(args.device, args.rounds)
        if args.device
        else _all_cases(args.rounds, args.large)
    )
    for name, case in cases:
        if not name.startswith(args.cases):
            continue
        results[name] = case() | _machine(args)
        print(name, json.dumps(results[name], default=float), flush=True)
        with atomic_write(args.out) as part:
            part.write_text(json.dumps(results, indent=2, default=float) + "\n")


def _all_cases(rounds, large):
    yield from _steps(rounds)
    for sizes in _cores.SIZES:
        yield "cores_{}_{}_{}".format(*sizes), partial(_cores.cores, *sizes, rounds)
    for n, *sizes in THREADS:
        yield f"threads_{n}", partial(_cases.threads, n, *sizes, rounds)
    yield from _several_models(rounds)
    yield from _tied_steps(rounds)
    yield "probing", lambda: _cases.probing_sweep(rounds)
    yield "probing_backends", lambda: _cases.probing_backends(rounds)
    yield "transform", lambda: _cases.transform(rounds)
    for group in _symmetry.GROUPS:
        yield f"moves_{group}", partial(_symmetry.moves, group, rounds)
    for name in _extraction.MODELS:
        yield f"extraction_{name}", partial(_extraction.extraction, name, rounds)
    yield "moments", lambda: _symmetry.moments(rounds)
    yield "factored", _symmetry.factored
    yield "memory", _cases.peak_memory
    yield "streamed", lambda: _big_data.streamed_fit(rounds)
    yield "shuffling", _big_data.shuffling
    yield "import", lambda: _cases.import_time(rounds)
    for base_model in ("mlp", "cnn"):
        yield (
            f"activation_transform_{base_model}",
            partial(_symmetry.exact_against_adam, base_model),
        )
    if large:
        yield "long_fit", _cases.long_fit
        yield "activation_transform_large", _symmetry.large_activation_transform
        yield "large_fit", _big_data.large_fit


def _steps_on(device, rounds):
    for n, n_features in ON_A_DEVICE:
        case = partial(_device.step_on, device, n, n_features, rounds)
        yield f"{device}_{n}_{n_features}", case


def _steps(rounds):
    for n, batch_size, k in product((2048, 8192), (64, 256, 1024), (8, 32)):
        case = partial(_cases.training_step, n, batch_size, k, rounds)
        yield f"step_{n}_{batch_size}_{k}", case
    yield "two_layer", lambda: _cases.two_layer_step(rounds)


def _several_models(rounds):
    for n, *sizes in MANY:
        yield f"many_{n}", partial(_cases.many, n, *sizes, rounds)


def _tied_steps(rounds):
    for n, batch_size in TIED_STEPS:
        case = partial(_cases.tied_step, n, batch_size, rounds)
        yield f"tied_{n}_{batch_size}", case
        yield f"tied_{n}_{batch_size}_two_layers", partial(case, 512)


def _machine(args):
    return {
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": args.threads,
        "rounds": args.rounds,
        "torch": torch.__version__,
    }


if __name__ == "__main__":
    main()
