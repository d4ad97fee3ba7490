"""A small country, and what it says of its scans in the words of the tests' own slow reading of the semantics."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from events.scans import KIND_NUMBER
from loadtests.bench.trace.world import DAYS, Country
from tests.oracle import OraclePlace, OracleScan

END_MS: Final = 1_634_800_020_000
SMALL: Final = Country(seed=3, people=14, premises=12, end_ms=END_MS, others=5)
KINDS: Final = {number: str(kind) for kind, number in KIND_NUMBER.items()}


def rows_of(country: Country, province: int) -> NDArray[np.void]:
    """The province's rows of the log, day after day."""
    seqs = np.zeros(country.premises, np.int64)
    subjects = np.ascontiguousarray(country.subjects(province)).view("V16")[:, 0]
    return np.concatenate([country.rows(province, day, seqs, subjects) for day in range(DAYS)])


def places_of(country: Country, province: int) -> dict[str, OraclePlace]:
    """The province's places by the text of their number."""
    numbers, parents, dwells = country.numbers(province), country.parents(), country.dwells()
    return {
        str(numbers[rank]): OraclePlace(None if parents[rank] < 0 else str(numbers[parents[rank]]), int(dwells[rank]))
        for rank in range(country.places)
    }


def scans_of(country: Country, province: int) -> list[OracleScan]:
    """The province's scans; devices and places go by their numbers, people by their pseudonyms."""
    return [
        OracleScan(
            device=str(row["device"]),
            seq=int(row["seq"]),
            at=int(row["at"]),
            received=int(row["received"]),
            kind=KINDS[int(row["kind"])],
            place=str(row["place"]),
            subject=row["subject"].tobytes().hex(),
        )
        for row in rows_of(country, province)
    ]
