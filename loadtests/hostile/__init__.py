"""Strangers, cheats and broken devices: what they send, and that none of it is taken for what it is not."""
