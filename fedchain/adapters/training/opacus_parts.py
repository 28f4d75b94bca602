"""What fedchain uses of Opacus, imported so that the program's logging stays as it was.

`opacus.utils.module_utils` calls `logging.basicConfig` when it is imported, which gives the root logger a handler; with
one, every line of a library that has a handler of its own, as Flower has, appears twice.
"""

from __future__ import annotations

import logging

_ROOT = logging.getLogger()
_BEFORE = tuple(_ROOT.handlers)

# ruff: noqa: E402 - the handlers have to be read before Opacus is imported
from opacus import GradSampleModule
from opacus.accountants.analysis.prv import (
    DiscretePRV,
    Domain,
    PoissonSubsampledGaussianPRV,
    TruncatedPrivacyRandomVariable,
    compose_heterogeneous,
    discretize,
)
from opacus.accountants.analysis.rdp import compute_rdp
from opacus.validators import ModuleValidator

_ROOT.handlers[:] = [each for each in _ROOT.handlers if each in _BEFORE]

__all__ = [
    "DiscretePRV",
    "Domain",
    "GradSampleModule",
    "ModuleValidator",
    "PoissonSubsampledGaussianPRV",
    "TruncatedPrivacyRandomVariable",
    "compose_heterogeneous",
    "compute_rdp",
    "discretize",
]
