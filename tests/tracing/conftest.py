"""Read models to trace in: made once, for a database costs more to make than a world to put into it."""

from collections.abc import Iterator

import pytest

from storage.clickhouse import Store, migrate
from tests.support.clickhouse_http import ClickHouseHttp


@pytest.fixture(scope="session")
def read_models(chdb_url: str) -> Iterator[Store]:
    """A migrated database in this process; every `World` empties the tables that it fills."""
    store = Store(chdb_url, database="test_tracing")
    migrate(store)
    yield store
    store.command(f"DROP DATABASE {store.database} SYNC")
    store.close()


@pytest.fixture(scope="session")
def read_models_over_http(clickhouse_http: ClickHouseHttp) -> Iterator[Store]:
    """The same behind ClickHouse's HTTP interface."""
    store = Store(clickhouse_http.url, database="test_tracing")
    migrate(store)
    yield store
    store.command(f"DROP DATABASE {store.database} SYNC")
    store.close()
