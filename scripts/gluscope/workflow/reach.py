"""How to come to this machine from another one, for people at home."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Mapping


def way_here(environment: Mapping[str, str] = os.environ) -> str:
    """What ssh is to be told: user and host, in a job by way of the login node that it was submitted from."""
    user, here = getpass.getuser(), socket.gethostname()
    through = environment.get("SLURM_SUBMIT_HOST", "") if "SLURM_JOB_ID" in environment else ""
    return f"{f'-J {user}@{through} ' if through not in ('', here) else ''}{user}@{here}"
