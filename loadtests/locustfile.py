"""The load test for Locust: `locust -f loadtests/locustfile.py`, see docs/load-tests.md. Its code: `loadtests.load`."""

from loadtests.load.course import Course, listen
from loadtests.load.users import Checkpoint, Door, Epidemiologist, Gateway, Phone

__all__ = ["Checkpoint", "Course", "Door", "Epidemiologist", "Gateway", "Phone"]

listen()
