"""The limits of the edge, each with its unit."""

from typing import Final

import msgspec

DAY_SECONDS: Final = 86_400


class EdgeLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one request may ask of the edge. `docs/api.md` names every default.

    `publish_seconds_max` bounds the wait for the stream to say that an entry is on disk.
    `scan_ahead_seconds_max` also bounds by how much a code may seem to be issued after the scan that read it.
    `device_…_per_second` are what one device may send to one worker for ever, and `device_burst_seconds` how many
    seconds' worth of it at once: a gateway's backlog, or a phone after a day without a network.
    """

    body_bytes_max: int = 2_000_000
    decompressed_bytes_max: int = 8_000_000
    body_seconds_max: float = 10.0
    publish_seconds_max: float = 10.0
    signature_age_seconds_max: int = 300
    clock_skew_seconds_max: int = 60
    scan_age_seconds_max: int = 28 * DAY_SECONDS
    scan_ahead_seconds_max: int = 300
    device_requests_per_second: float = 100.0
    device_scans_per_second: float = 50_000.0
    device_burst_seconds: float = 10.0
