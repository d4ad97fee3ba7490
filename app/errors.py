"""The root of this package's own exceptions."""


class Explained(Exception):
    """Its text says, in one line for the person at the terminal, what happened and what to do."""
