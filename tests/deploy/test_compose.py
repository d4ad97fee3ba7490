"""docker-compose.yml, the Dockerfile and the servers' configuration, as far as they can be checked without Docker."""

import hashlib
import json
import re
import subprocess
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from compose_spec import PyCompose

from app.cli import COMMANDS
from app.settings import Settings
from storage.clickhouse import Store
from storage.errors import StoreDown
from tests.deploy import compose

SERVICES = compose.services()
PROCESSES = compose.processes()
USERS = ("ingest", "sink", "project", "trace", "admin")


@pytest.fixture(scope="module")
def deploy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compose.with_secrets(tmp_path_factory.mktemp("deployment"))


@pytest.mark.parametrize("file", [compose.FILE, compose.TLS_FILE], ids=lambda file: file.name)
def test_follows_the_compose_specification(file: Path) -> None:
    document = PyCompose.from_json(json.dumps(yaml.safe_load(compose.with_defaults(file))))
    document.validate()


@pytest.mark.parametrize(
    "change",
    [{"imagee": "x"}, {"restart": "sometimes"}, {"mem_limit": "lots"}, {"secrets": ["nobody-knows"]}],
    ids=lambda change: next(iter(change)),
)
def test_the_specification_would_notice(change: dict[str, object]) -> None:
    document = yaml.safe_load(compose.with_defaults(compose.FILE))
    document["services"]["ingest"] |= change
    with pytest.raises(ValueError, match=r"."):
        PyCompose.from_json(json.dumps(document)).validate()


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_hardened(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert int(service["user"].partition(":")[0]) > 0
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert service["restart"] == ("no" if name in ("migrate", "admin") else "unless-stopped")
    assert "privileged" not in service
    assert "network_mode" not in service
    assert not any("docker.sock" in str(volume) for volume in service.get("volumes", []))


def test_only_the_proxy_and_the_dashboard_are_published_and_on_this_machine_alone() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"proxy": ["127.0.0.1:8080:8080"], "grafana": ["127.0.0.1:3000:3000"]}
    document = yaml.safe_load(compose.FILE.read_text(encoding="utf-8"))
    assert [name for name, network in document["networks"].items() if not network.get("internal")] == ["outside"]
    assert [name for name, service in SERVICES.items() if "outside" in service["networks"]] == ["proxy", "grafana"]
    assert [name for name, service in SERVICES.items() if "inside" not in service["networks"]] == ["proxy", "grafana"]
    assert SERVICES["grafana"]["networks"] == ["watch", "outside"]
    assert {name for name, service in SERVICES.items() if "watch" in service["networks"]} == {"prometheus", "grafana"}


def test_monitoring_is_left_out_unless_asked_for() -> None:
    optional = {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service}
    assert optional == {"prometheus": ["monitoring"], "grafana": ["monitoring"], "admin": ["tools"]}


def test_whoever_serves_says_whether_it_is_well() -> None:
    assert {name for name, service in SERVICES.items() if "healthcheck" in service} == {
        "valkey",
        "clickhouse",
        "ingest",
        "sink",
        "project",
        "trace",
        "proxy",
        "prometheus",
        "grafana",
    }


@pytest.mark.parametrize("name", PROCESSES)
def test_processes_start_after_what_they_need(name: str) -> None:
    needs = PROCESSES[name]["depends_on"]
    assert needs["valkey"] == {"condition": "service_healthy"}
    if name == "migrate":
        assert needs["clickhouse"] == {"condition": "service_healthy"}
    else:
        assert needs["migrate"] == {"condition": "service_completed_successfully"}


@pytest.mark.parametrize("name", PROCESSES)
def test_settings_are_the_programs_own(name: str, deploy: Path) -> None:
    service = PROCESSES[name]
    settings = Settings.from_environment(compose.environment(service, deploy))
    assert not settings.embedded_redis
    assert str(settings.keys_path) == "/keys/keys.json"
    assert settings.embedded_store == (name == "ingest")  # which never asks the store
    assert service["command"][0] in {*COMMANDS, "--help"}
    limit_mb = {"1g": 1000, "3g": 3000, "4g": 4000}[service["mem_limit"]]
    assert settings.stream_bytes_max < limit_mb * 1_000_000


def test_only_who_needs_the_keys_sees_them() -> None:
    with_keys = {name: service["volumes"] for name, service in PROCESSES.items() if "volumes" in service}
    assert with_keys == {
        "migrate": ["keys:/keys"],
        "admin": ["keys:/keys"],
        "ingest": ["keys:/keys:ro"],
        "trace": ["keys:/keys:ro", "people:/people"],
    }


def test_every_mounted_file_is_there(deploy: Path) -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert not source.startswith("./") or (compose.ROOT / source).is_file(), source
    document = yaml.safe_load(compose.FILE.read_text(encoding="utf-8"))
    for secret in document["secrets"].values():
        assert (deploy.parent / secret["file"]).is_file()


def test_passwords_are_made_once_and_servers_know_digests_alone(deploy: Path) -> None:
    acl = (deploy / "secrets" / "users.acl").read_text(encoding="utf-8")
    users = ET.parse(deploy / "secrets" / "users.xml").getroot().find("users")
    assert users is not None
    assert "@" not in re.sub(r"[+-]@\w+", "", acl)
    for name in USERS:
        file = deploy / "secrets" / f"{name}.env"
        assert file.stat().st_mode & 0o077 == 0
        urls = [urlsplit(line.partition("=")[2]) for line in file.read_text(encoding="utf-8").splitlines()]
        assert {url.username for url in urls} == {name}
        (password,) = {url.password for url in urls}
        assert password is not None
        digest = hashlib.sha256(password.encode()).hexdigest()
        assert f"user {name} on #{digest} " in acl
        assert password not in acl
        assert users.findtext(f"{name}/password_sha256_hex") == (digest if name != "ingest" else None)
    grafana = deploy / "secrets" / "grafana.env"
    assert grafana.stat().st_mode & 0o077 == 0
    assert re.search(r"^GF_SECURITY_ADMIN_PASSWORD=[0-9a-f]{48}$", grafana.read_text(encoding="utf-8"), re.MULTILINE)
    again = subprocess.run([deploy / "make-secrets.sh"], capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert "nothing was changed" in again.stderr


def test_git_ignores_the_passwords() -> None:
    assert (compose.ROOT / "deploy" / "secrets" / ".gitignore").read_text(encoding="utf-8").startswith("*\n")


def test_clickhouse_configuration_is_well_formed() -> None:
    for name in ("config.xml", "users.xml"):
        assert ET.parse(compose.ROOT / "deploy" / "clickhouse" / name).getroot().tag == "clickhouse"


def test_grants_are_clickhouse_statements(store: Store) -> None:
    root = ET.parse(compose.ROOT / "deploy" / "clickhouse" / "users.xml").getroot()
    grants = [query.text or "" for query in root.iter("query")]
    assert len(grants) > 10
    for grant in grants:
        # The engine reads the statement and only then misses the user: no syntax error.
        with pytest.raises(StoreDown, match=r"Code: (511|497)"):
            store.command(f"{grant} TO nobody_here")


def test_the_image_holds_every_package() -> None:
    """An editable install finds packages that the wheel would leave out; the image is built from the wheel."""
    project = tomllib.loads((compose.ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = set(project["tool"]["setuptools"]["packages"])
    roots = {name.partition(".")[0] for name in listed}
    found = {
        ".".join(init.parent.relative_to(compose.ROOT).parts)
        for root in roots
        for init in (compose.ROOT / root).rglob("__init__.py")
    }
    assert found <= listed
    dockerfile = (compose.ROOT / "Dockerfile").read_text(encoding="utf-8")
    ignored = (compose.ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for root in roots:
        assert f"COPY {root} ./{root}\n" in dockerfile
        assert f"!{root}" in ignored


def test_the_image_runs_as_nobody_special() -> None:
    last = (compose.ROOT / "Dockerfile").read_text(encoding="utf-8").rpartition("FROM ")[2]
    assert "\nUSER 10001:10001\n" in last
    assert 'ENTRYPOINT ["truyvet"]' in last
    assert "embedded]" not in last
