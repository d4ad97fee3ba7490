"""What must hold of a store at whatever step a run of retention was killed."""

from typing import Final

from tests.tracing.retention.scene import DAY, DAYS, FIRST_DAY, Scene, Sent, expected_gaps, expected_sightings

HOUR: Final = 3_600_000
NOW: Final = FIRST_DAY + DAYS * DAY + 5 * HOUR


def require_whole(scene: Scene, deliveries: list[Sent]) -> None:
    """Questions, gap reports and rebuilds know exactly what is kept."""
    assert scene.sightings() == expected_sightings(deliveries, scene.kept_from)
    never_came = expected_gaps(deliveries)
    for device, gaps in scene.gaps().items():
        # Holes below seqs that are retired are told of no more; all others are, and nothing else is.
        told, retired = [(gap.first, gap.last) for gap in gaps], scene.retired(device)
        assert [hole for hole in never_came[device] if hole[1] + 1 not in retired] == told
    for model in scene.rebuild():
        assert model.equal, model
