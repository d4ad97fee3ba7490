"""Server mode's two processes behind the stream: `sink` and `project`."""

from prometheus_client import CollectorRegistry

from app.processes import backend, vitals
from app.processes.life import Life
from app.readiness import Watch, behind_parts
from app.settings import Settings
from app.stream_client import stream_clients
from ingest.archive import ControlArchive
from ingest.audit_archive import AuditArchive
from storage.audit_stream import AuditStream
from storage.clickhouse import Store
from storage.control import ControlLog


def run_sink(settings: Settings, life: Life) -> None:
    """Lay the stream into the log until the process is told to stop."""
    clients, store, registry = stream_clients(settings), backend.store(settings), CollectorRegistry()
    backend.agree_on_partitions(settings, clients.shared, life.stopping)
    life.part("sink", backend.sinks(settings, clients, store, backend.unique_owner(), registry).run)
    life.part("archive", ControlArchive(ControlLog(clients.shared), store).run)
    audit = AuditStream(clients.shared, replicas=settings.stream_replicas)
    life.part("audit archive", AuditArchive(audit, store).run)
    watch = _described("sink", settings, store, registry)
    vitals.serve_until_stopped(settings.sink_host, settings.sink_port, registry, watch.look, life)
    life.join()
    watch.stop()


def run_project(settings: Settings, life: Life) -> None:
    """Keep the read models until the process is told to stop."""
    clients, store, registry = stream_clients(settings), backend.store(settings), CollectorRegistry()
    backend.agree_on_partitions(settings, clients.shared, life.stopping)
    settler = backend.settler(clients, store, registry)
    life.part("projector", backend.projector(settings, clients, store, registry, settler).run)
    life.part("settler", settler.run)
    life.part("retention", backend.retention(settings, clients, store).run)
    watch = _described("project", settings, store, registry)
    vitals.serve_until_stopped(settings.project_host, settings.project_port, registry, watch.look, life)
    life.join()
    watch.stop()


def _described(process: str, settings: Settings, store: Store, registry: CollectorRegistry) -> Watch:
    watch = Watch(behind_parts(settings, store))
    watch.start()
    vitals.describe(process, registry, watch.look)
    return watch
