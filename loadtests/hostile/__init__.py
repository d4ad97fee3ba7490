"""Strangers, cheats and broken devices: what they send, and that none of it is taken for what it is not.

`actors` are the devices and the codes, `signing` and `wire` make their requests byte by byte. `tampering` is what
outsiders do to good requests, `cheating` what devices sign themselves, `crowd` a thousand connections that only wait.
`attack` says what may become of each, `campaign` sends them and holds the log against that.
"""
