"""The limit of open files: 1,024 by default on many systems, and too few for a store engine in process."""

import resource
from typing import Final

OPEN_FILES: Final = 65_536


def allow_open_files() -> None:
    """Raise this process's own limit as far as the system lets it, up to what is ever needed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
