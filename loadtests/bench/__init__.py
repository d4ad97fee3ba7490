"""Benchmarks: each measures a target beside its own baselines, in one run.

`world` says who scanned what, `bodies` makes signed requests of it, `client` sends them and `check` holds the log
against it. A `trial` is one service under load, a `session` all trials of a run. The benches are `batch`, `single`,
`ack`, `visible`, `backlog`, `memory` and `disk`; `baselines` and `roofline` are what they are compared with, and
`report` says what came of them.
"""
