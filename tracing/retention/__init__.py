"""How long things are kept, and how they go when their time is over.

Receives the control stream's word on what is kept and which cases are closed; hands partitions to `storage.expiry`.
docs/adr/0028 argues the one cutoff and the order in which things go.
"""
