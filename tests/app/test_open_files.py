import subprocess
import sys

CHECK = """
import resource
from app.open_files import OPEN_FILES, allow_open_files
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
allow_open_files()
soft, after = resource.getrlimit(resource.RLIMIT_NOFILE)
assert after == hard
assert soft == (OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)), soft
"""


def test_a_low_limit_is_raised_and_the_hard_one_left_alone() -> None:
    subprocess.run([sys.executable, "-c", CHECK], check=True, timeout=30)
