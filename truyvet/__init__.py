"""Truyvet for other programs: ask, read and export from Python, into Arrow and pandas.

`truyvet.client.Client` is the way in. It speaks the HTTP API and imports nothing of the service but the contract
(`events`); Arrow and pandas are needed by those methods alone that return them (`pip install truyvet[client]`).
"""

from truyvet.client import Client
from truyvet.errors import Busy, Forbidden, Invalid, NotFound, Refused, TruyvetError, Unreachable, WrongAnswer

__all__ = [
    "Busy",
    "Client",
    "Forbidden",
    "Invalid",
    "NotFound",
    "Refused",
    "TruyvetError",
    "Unreachable",
    "WrongAnswer",
]
