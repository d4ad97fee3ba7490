"""Adapters: the only code that speaks to Redis and ClickHouse, and the servers that the embedded mode brings.

Receives clients and paths from `app`, hands typed values and its own few exceptions to everybody above; a
library's exception never leaves this package.
"""
