"""The directory of names: sealed, opened one person at a time for a stated purpose, erased by destroying a key.

Receives line lists and the wish to see somebody's name; hands on names to one answer and to nothing else: no log, no
metric, no cache.
"""
