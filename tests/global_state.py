"""What belongs to the caller's process and no call of the package may change."""

import random
import sys
import warnings

import cv2
import matplotlib
import numpy as np
import sklearn
import torch
from threadpoolctl import threadpool_info


def global_state():
    """Random states and settings of numpy, torch, Python and scikit-learn, by name."""
    denormal = torch.full((64,), 1e-40)
    return {
        "torch random state": torch.get_rng_state().tolist(),
        "numpy random state": np.random.get_state()[1].tolist(),  # noqa: NPY002
        "random state": random.getstate(),
        "threads": (
            torch.get_num_threads(),
            torch.get_num_interop_threads(),
            cv2.getNumThreads(),
        ),
        "thread pools": thread_pools(),
        "flush_denormal": bool((denormal * 1 == 0).all()),
        "default dtype": torch.get_default_dtype(),
        "deterministic": (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.backends.cudnn.deterministic,
            torch.backends.cudnn.benchmark,
            torch.get_float32_matmul_precision(),
        ),
        "anomalies": torch.is_anomaly_enabled(),
        "modes": modes(),
        "numpy errors": np.geterr(),
        "warnings": list(warnings.filters),
        "scikit-learn": sklearn.get_config(),
        "matplotlib": dict(matplotlib.rcParams),
        "recursion": sys.getrecursionlimit(),
    }


def modes():
    """What torch does otherwise in this thread."""
    return {
        "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "default device": torch.get_default_device(),
        "autocast": (
            torch.is_autocast_enabled("cpu"),
            torch.get_autocast_dtype("cpu"),
            torch.is_autocast_cache_enabled(),
        ),
    }


def thread_pools():
    """Threads of each BLAS and OpenMP library, by its file."""
    return {pool["filepath"]: pool["num_threads"] for pool in threadpool_info()}
