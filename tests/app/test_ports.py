"""Free ports: none is named twice, and a whole service has its own."""

from app.ports import free_ports, on_free_ports
from app.settings import Settings


def test_free_ports_are_distinct() -> None:
    # So many that some would be the same if each were let go before the next is chosen.
    assert len(set(free_ports(500))) == 500


def test_a_whole_service_has_its_ports() -> None:
    settings = Settings.from_environment(on_free_ports())
    assert len({settings.ingest_port, settings.trace_port, settings.valkey_port, 0}) == 4
    standard = Settings.from_environment({})
    assert settings.ingest_port != standard.ingest_port
