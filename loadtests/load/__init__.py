"""The load test: Locust's users send and ask, every step goes into a ledger, and an audit holds the log against it.

`users` are who sends, `shapes` and `course` how many of them there are over time, `delivery` how a batch is sent until
it is answered for, `ledger` what is written down of it. `reconcile` compares that with the log, and `audit` is the
command that does so for every device. `python -m loadtests.load` runs all of it, with a service of its own where none
is named.
"""
