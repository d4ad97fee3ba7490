"""Keys, codes and seals: who signed, whom a code stands for, what only the server may read.

Receives bytes, texts, times and randomness as arguments: the server's secrets from `app.key_file`, control
events from the control stream, requests and codes from `ingest`. Hands on verdicts and plain values: opened
codes and pseudonyms to `ingest`, device keys and revocations to `ingest` and `tracing`, code texts and events
to `app`. Pure: no module here opens a file or a socket, or asks for the time or for randomness.
"""
