"""Addresses of servers as people write them."""

Address = tuple[str, int]
"""Host and port."""


def node_address(text: str) -> Address:
    """`host:port` as an address; `[…]:port` for IPv6. Raises `ValueError`."""
    host, colon, port = text.strip().rpartition(":")
    if not colon or not host:
        raise ValueError(f"{text!r} is not host:port")
    return host.removeprefix("[").removesuffix("]"), int(port)
