"""What was learned."""

from .._metrics import fvu
from ._metrics import dead_latents

__all__ = ["dead_latents", "fvu"]
