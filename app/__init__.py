"""The composition root: settings, wiring, processes and the command line.

Receives the environment and the arguments of a command; builds every client, key and view once and passes them
down. Nothing below imports from here.
"""
