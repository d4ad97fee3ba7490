"""The compose file as a person reads it: services with their commands, and the environment that each process gets."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final, cast

import yaml

ROOT: Final = Path(__file__).parents[2]
FILE: Final = ROOT / "docker-compose.yml"
TLS_FILE: Final = ROOT / "docker-compose.tls.yml"
IMAGE: Final = "truyvet:local"

_VARIABLE: Final = re.compile(r"\$\{([A-Z_]+)(?::-([^}]*))?\}")
_IMAGE_ENV: Final = re.compile(r"^(?:ENV )?\s*([A-Z_]+)=(\S+?)(?: \\)?$", re.MULTILINE)

Service = dict[str, Any]


def with_defaults(file: Path) -> str:
    """The file's text with every variable at its default."""
    return _VARIABLE.sub(lambda variable: variable[2] or "", file.read_text(encoding="utf-8"))


def services() -> dict[str, Service]:
    """Every service, variables at their defaults and YAML anchors merged."""
    return cast(dict[str, Service], yaml.safe_load(with_defaults(FILE))["services"])


def processes() -> dict[str, Service]:
    """The services that run our own image."""
    return {name: service for name, service in services().items() if service["image"] == IMAGE}


def image_environment() -> dict[str, str]:
    """What the Dockerfile's last stage sets for TRUYVET_…"""
    last = (ROOT / "Dockerfile").read_text(encoding="utf-8").rpartition("FROM ")[2]
    return {name: value for name, value in _IMAGE_ENV.findall(last) if name.startswith("TRUYVET_")}


def environment(service: Service, deploy: Path) -> dict[str, str]:
    """A process's TRUYVET_… variables: the image's, then its env files', then its own. `deploy` has the secrets."""
    values = image_environment()
    for file in service.get("env_file", []):
        lines = (deploy.parent / file).read_text(encoding="utf-8").splitlines()
        values |= dict(line.partition("=")[::2] for line in lines)
    own: dict[str, object] = service.get("environment", {})
    return values | {name: str(value) for name, value in own.items()}


def with_secrets(directory: Path) -> Path:
    """A copy of deploy/ in the directory, with passwords made by its own script."""
    deploy = directory / "deploy"
    shutil.copytree(ROOT / "deploy", deploy, ignore=shutil.ignore_patterns("*.env", "users.acl.new"))
    for made in ("users.acl", "users.xml"):
        (deploy / "secrets" / made).unlink(missing_ok=True)
    subprocess.run([deploy / "make-secrets.sh"], check=True, capture_output=True)
    return deploy
