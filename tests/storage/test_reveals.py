from concurrent.futures import ThreadPoolExecutor

import redis

from storage.reveals import FORGOTTEN_AT_ONCE, REQUESTS, RevealBook

DAY = 86_400


def test_no_more_are_kept_than_may_be(valkey: "redis.Redis") -> None:
    book = RevealBook(valkey)
    with ThreadPoolExecutor(8) as threads:
        taken = list(threads.map(lambda number: book.add(str(number), b"asked", 20, DAY), range(100)))
    assert (sum(taken), len(book.requests())) == (20, 20)
    book.forget([str(number) for number in range(100)])
    assert book.requests() == []


def test_of_two_decisions_one_counts(valkey: "redis.Redis") -> None:
    book = RevealBook(valkey)
    assert not book.swap("a", b"asked", b"approved", DAY)
    book.add("a", b"asked", 20, DAY)
    assert book.swap("a", b"asked", b"approved", DAY)
    assert not book.swap("a", b"asked", b"refused", DAY)
    assert book.request("a") == b"approved"


def test_the_book_goes_when_its_last_request_is_long_over(valkey: "redis.Redis") -> None:
    book = RevealBook(valkey)
    book.add("a", b"asked", 20, 9 * DAY)
    book.add("b", b"asked", 20, DAY)
    assert 8 * DAY < valkey.ttl(REQUESTS) <= 9 * DAY
    book.swap("b", b"asked", b"approved", 12 * DAY)
    assert 11 * DAY < valkey.ttl(REQUESTS) <= 12 * DAY


def test_many_are_forgotten_at_once(valkey: "redis.Redis") -> None:
    book = RevealBook(valkey)
    names = [str(number) for number in range(2 * FORGOTTEN_AT_ONCE + 1)]
    valkey.hset(REQUESTS, mapping=dict.fromkeys(names, b"asked"))
    book.forget(names)
    book.forget([])
    assert book.requests() == []
