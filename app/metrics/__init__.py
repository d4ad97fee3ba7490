"""What the processes tell Prometheus: a module for each part of the way of a scan, fed by that part's own hook.

Labels are names from closed lists, never ids: no series names a device, a place or a person. `docs/monitoring.md`
lists every metric; its test compares the list with a running service.
"""
