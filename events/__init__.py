"""The contract: every fact that Truyvet speaks of, as frozen structs, and the only codec.

Receives nothing and imports nothing of the project; every other package speaks in these types.
Scans travel from scanners (`scans`), change the registries through the control stream (`control`)
and refuse with problem details (`problems`). Times are integer milliseconds since the Unix epoch,
UTC; durations carry their unit in the name.
"""
