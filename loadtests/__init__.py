"""Load tests, benchmarks and the audit that nothing was lost: all of them clients of a running service."""
