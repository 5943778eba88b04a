"""Every name that the folder of a research may hold at its top."""

from __future__ import annotations

from typing import Final

DESCRIPTION: Final = "research.json"
PLAN: Final = "plan.pkl"
LOG: Final = "research.log"
PROFILE: Final = "profile.parquet"
EXPERIMENTS: Final = "experiments"
RESULTS: Final = "results"
ARRAYS: Final = "arrays.zarr"
ARTIFACTS: Final = "artifacts"
ENV: Final = "env"
LOCK: Final = ".lock"
LEASE: Final = "lock.json"
