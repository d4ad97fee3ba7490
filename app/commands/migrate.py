"""`truyvet migrate`."""

from typing import Final

import click

from app.clock import now_ms
from app.key_file import load_or_create
from app.processes import backend
from app.processes.store import LOCK_FILE, owned
from app.registries import open_registries
from app.settings import Settings
from app.stream_client import stream_client
from app.supervisor import has_data
from ingest.archive import ControlArchive
from storage.clickhouse import Store
from storage.clickhouse import migrate as apply_migrations
from storage.control import ControlLog
from storage.errors import StreamDown

LOCK_WAIT_SECONDS: Final = 0.0


@click.command()
@click.pass_obj
def migrate(settings: Settings) -> None:
    """Make the key file where there is none, and bring the store's tables up to date. Safe to repeat.

    Where the stream has lost the registries (devices, places, cases, tokens), put them back from the store's copy.

    `truyvet up` does both by itself. In a deployment run this once before the processes of a new release.

    \b
    Example:
      TRUYVET_CLICKHOUSE_URL=http://truyvet:…@clickhouse:8123/ truyvet migrate
    """
    load_or_create(settings.keys_path, data_exists=_has_data(settings), now_ms=now_ms())
    if settings.embedded_store:
        settings.run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        owned(settings.run_dir / LOCK_FILE, LOCK_WAIT_SECONDS)  # held until this process ends
    store = backend.store(settings)
    applied = apply_migrations(store)
    restored = _restore(settings, store)
    store.close()
    click.echo(f"Keys: {settings.keys_path}")
    if restored:
        click.echo(f"The stream had lost its registries: {restored} events were put back from the store's copy.")
    click.echo(f"Applied: {', '.join(applied)}." if applied else "The tables are up to date.")


def _restore(settings: Settings, store: Store) -> int:
    """How many registry events were put back; an embedded stream that does not run is left to `truyvet up`."""
    client = stream_client(settings)
    try:
        return ControlArchive(ControlLog(client, replicas=settings.stream_replicas), store).restore()
    except StreamDown:
        if not settings.embedded_redis:
            raise
        return 0
    finally:
        client.close()


def _has_data(settings: Settings) -> bool:
    """Whether anything was written with keys before; a stream that cannot be asked counts on its embedded files."""
    if settings.embedded_redis:
        return has_data(settings)
    with open_registries(settings) as registries:
        return bool(registries.registry.keyring.devices() or registries.registry.tokens_by_sha256)
