"""The endpoints, a file a noun: each says what it promises (`tracing.operation`), decodes, asks a part and answers.

Receives requests that the guard in `tracing.service` has let through; hands on bytes.
"""
