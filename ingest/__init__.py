"""Untrusted bytes become durable facts: 1 receive, 2 verify, 3 judge, 4 seal, 5 publish; later, the sink.

Receives signed batches of scans from scanners and phones over HTTP, refuses what it cannot trust with the reason,
and hands one entry a batch to the stream; the sink takes the entries from there into the log. `verify`, `decode`
and `judge` are pure: the registries, the clock, randomness and every limit are arguments.
"""
