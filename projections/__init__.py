"""5 project: folds the log into read models that can be thrown away and derived anew.

Receives the log's watermark and rows from `storage`; hands tables and a watermark of its own to `tracing`. Each
read model is a file of its own: a table, and the SELECT over first deliveries that fills it.
"""
