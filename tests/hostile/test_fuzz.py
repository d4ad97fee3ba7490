"""Every fuzz target on its seeds, on changed seeds and on anything at all; `make fuzz` goes on from here."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.hostile.fuzz_targets import TARGETS

EXAMPLES = 300


def changed(seed: bytes) -> st.SearchStrategy[bytes]:
    """The seed with a few pieces overwritten, put in, or taken out."""
    piece = st.tuples(st.integers(0, len(seed)), st.integers(0, 4), st.binary(max_size=6))

    def edited(pieces: list[tuple[int, int, bytes]]) -> bytes:
        data = seed
        for start, out, new in pieces:
            data = data[:start] + new + data[start + out :]
        return data

    return st.lists(piece, min_size=1, max_size=4).map(edited)


@pytest.mark.parametrize("name", TARGETS)
def test_it_reads_anything_as_promised(name: str) -> None:
    target = TARGETS[name]
    for seed in target.seeds:
        target.read(seed)

    @settings(max_examples=EXAMPLES, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.one_of(st.sampled_from(target.seeds).flatmap(changed), st.binary(max_size=200)))
    def reads(data: bytes) -> None:
        target.read(data)

    reads()
