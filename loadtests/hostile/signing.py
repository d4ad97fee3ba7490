"""Signs requests as a device does, and as none should: from RFC 9421 and 9530 alone, apart from the service's code."""

import base64
import hashlib
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from loadtests.hostile.wire import Wire

PATH: Final = "/v1/scans"
JSON: Final = "application/json"
MSGPACK: Final = "application/msgpack"
HOST: Final = "edge.invalid"


def digest(body: bytes) -> str:
    """The Content-Digest of a body."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


def signed(
    key: Ed25519PrivateKey,
    keyid: str,
    body: bytes,
    *,
    created: int,
    content_type: str = JSON,
    encoding: str | None = None,
    method: str = "POST",
    target: str = PATH,
    uncovered: str = "",
    parameters: str = "",
) -> Wire:
    """A signed request. `uncovered` names a component to leave out, `parameters` follow those that must be there."""
    values = {"@method": method, "@path": target, "content-type": content_type, "content-digest": digest(body)}
    if encoding is not None:
        values["content-encoding"] = encoding
    covered = [name for name in values if name != uncovered]
    names = " ".join(f'"{name}"' for name in covered)
    params = f'({names});created={created};keyid="{keyid}";alg="ed25519"{parameters}'
    lines = [f'"{name}": {values[name]}' for name in covered]
    base = "\n".join([*lines, f'"@signature-params": {params}'])
    signature = base64.b64encode(key.sign(base.encode())).decode()
    fields = [("Host", HOST), *((name.title(), value) for name, value in values.items() if name[0] != "@")]
    fields += [("Signature-Input", f"sig={params}"), ("Signature", f"sig=:{signature}:")]
    return Wire(method, target, (*fields, ("Content-Length", str(len(body)))), body)
