"""`truyvet migrate`."""

from typing import Final

import click

from app.clock import now_ms
from app.key_file import load_or_create
from app.processes import backend
from app.processes.store import LOCK_FILE, owned
from app.registries import open_registries
from app.settings import Settings
from app.supervisor import has_data
from storage.clickhouse import migrate as apply_migrations

LOCK_WAIT_SECONDS: Final = 0.0


@click.command()
@click.pass_obj
def migrate(settings: Settings) -> None:
    """Make the key file where there is none, and bring the store's tables up to date. Safe to repeat.

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
    store.close()
    click.echo(f"Keys: {settings.keys_path}")
    click.echo(f"Applied: {', '.join(applied)}." if applied else "The tables are up to date.")


def _has_data(settings: Settings) -> bool:
    """Whether anything was written with keys before; a stream that cannot be asked counts on its embedded files."""
    if settings.embedded_redis:
        return has_data(settings)
    with open_registries(settings) as registries:
        return bool(registries.registry.keyring.devices() or registries.registry.tokens_by_sha256)
