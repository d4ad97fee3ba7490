"""A saved trace as files that other tools read: line lists, tables, graphs, maps, calendars.

Receives a saved answer in pieces, reads it contact by contact and never as a whole (`slices`, `source`), and hands on
one ZIP archive in pieces (`archive`): the files of a format (`formats`) and a manifest that counts and hashes them.
Everything is a generator: however many contacts there are, memory holds one of them, or one batch of rows.
"""
