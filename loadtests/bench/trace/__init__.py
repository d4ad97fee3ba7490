"""Benchmarks of the trace: a country's scans laid into the log in bulk, read models derived by the real projector,
questions asked over HTTP, and every answer held against the truth.

`world` says who was scanned where, `walk` turns everybody's scans into stays by the book, `truth` says which contacts
must come out. `fill` lays the scans into a log, `session` runs services over it, `asking` asks them. The benches are
`one`, `growth`, `read`, `many`, `chain`, `under_load` and `rebuild`; `postgres` runs the other system and `compared`
asks it the same.
"""
