"""Server mode's two processes behind the stream: `sink` and `project`."""

from app.processes import backend
from app.processes.life import Life
from app.settings import Settings
from app.stream_client import stream_client
from ingest.archive import ControlArchive
from storage.control import ControlLog


def run_sink(settings: Settings, life: Life) -> None:
    """Lay the stream into the log until the process is told to stop."""
    client, store = stream_client(settings), backend.store(settings)
    life.part("sink", backend.sink(client, store, backend.unique_owner()).run)
    life.part("archive", ControlArchive(ControlLog(client), store).run)
    _until_stopped(life)


def run_project(settings: Settings, life: Life) -> None:
    """Keep the read models until the process is told to stop."""
    client, store = stream_client(settings), backend.store(settings)
    life.part("projector", backend.projector(settings, client, store).run)
    _until_stopped(life)


def _until_stopped(life: Life) -> None:
    life.ready()
    life.stopping.wait()
    life.join()
