"""Clipping: what makes one record's part in a sum bounded, whatever the record is (Abadi et al., CCS 2016).

Each record's gradient is scaled to an l2 norm of at most C over all parameters together, in float64, and a record whose
gradient is NaN or infinite counts as zero: otherwise one hostile row would turn the whole sum, and with it the noise,
into NaN. Adding or removing a record therefore moves the sum by at most C (its sensitivity).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch

ROUNDING: Final = 1e-9
"""Relative room below C for the rounding of float64 sums: enough for 3,000 records in one sum."""


def clipped_sum(gradients: Sequence[torch.Tensor], max_grad_norm: float) -> list[torch.Tensor]:
    """Return the sum over the records of their clipped gradients, one tensor a parameter, float64.

    Args:
        gradients: per-record gradients, one tensor (records, *shape) a parameter.
        max_grad_norm: the bound C > 0 of a record's norm over all parameters.
    """
    flat = [each.detach().double().flatten(start_dim=1) for each in gradients]
    norms = torch.stack([torch.linalg.vector_norm(each, dim=1) for each in flat]).norm(dim=0)
    is_finite = torch.isfinite(norms)
    factors = clip_factors(norms, max_grad_norm, ROUNDING)
    # 0 * NaN is NaN, so what is not finite is replaced and not only weighted with zero.
    clean = [torch.where(is_finite[:, None], each, 0.0) for each in flat]
    return [(factors @ each).reshape(gradient.shape[1:]) for each, gradient in zip(clean, gradients, strict=True)]


def clip_factors(norms: torch.Tensor, max_grad_norm: float, rounding: float) -> torch.Tensor:
    """Return what each record's gradient is scaled with: at most C / norm, zero where the norm is not finite."""
    limit = max_grad_norm * (1.0 - rounding)
    return torch.where(torch.isfinite(norms), (limit / norms).clamp(max=1.0), 0.0)


def rounding_of(dtype: torch.dtype, records: int, width: int) -> float:
    """Return the relative room below C that sums in `dtype` need.

    A sum of k terms is off by at most k eps of their sizes: k is `width` in a norm, and `records` in a sum of records,
    each of norm at most C.
    """
    return (records * records + 2 * width) * torch.finfo(dtype).eps
