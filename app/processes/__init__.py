"""The processes: each module wires one and runs it until it is told to stop.

`life` is what they share: how a process says that it is ready, learns that it must stop, and ends when one of its
parts fails.
"""
