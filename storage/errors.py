"""What can go wrong with a store, in the words of those who must answer for it."""


class StreamDown(Exception):
    """Redis cannot be reached, is loading, or refuses to write; nothing was made durable."""


class StreamFull(Exception):
    """The stream has reached its limit of entries or Redis its limit of memory; nothing was made durable."""


class StoreDown(Exception):
    """ClickHouse cannot be reached or failed to answer."""
