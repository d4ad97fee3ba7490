"""Benchmarks: each measures a target beside its own baselines, in one run."""
