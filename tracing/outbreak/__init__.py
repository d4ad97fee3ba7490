"""What many cases have in common: where they may have been infected, which places they exposed, where they gather.

Receives stays as of a moment, through `tracing.reading`, and the cases of the registry; hands on ranked places and
people, and announcements of clusters.
"""
