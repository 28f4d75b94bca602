"""What holds for every test: no reports home, one torch thread, no state of the person who runs them.

The environment is set here, before any test module imports torch, flwr or mlflow; what tests start inherits it.
"""

from __future__ import annotations

import os

from hypothesis import settings

os.environ.update(
    {
        "DO_NOT_TRACK": "1",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_TELEMETRY_ENABLED": "0",
        "MKL_NUM_THREADS": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "OMP_NUM_THREADS": "1",  # torch takes its thread count from here
        "OMP_WAIT_POLICY": "PASSIVE",
        "OPENBLAS_NUM_THREADS": "1",
    }
)
for name in ("FEDCHAIN_HOME", "MLFLOW_TRACKING_URI"):
    os.environ.pop(name, None)

# Deadlines measure the machine, not the code. CI takes the same examples every time; elsewhere each run looks further.
settings.register_profile("search", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "search")
