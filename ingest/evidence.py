"""The signed request as it came, sealed for the log and opened to prove a scan years later."""

from typing import Final

import msgspec

from events import codec
from events.scans import Evidence
from keys import http_signatures, sealing
from keys.http_signatures import SignatureInput
from keys.secrets import ServerSecrets

NONCE_BYTES: Final = 12
DEVICE_BYTES: Final = 4


class EvidenceBroken(ValueError):
    """A sealed evidence is damaged, is another device's, or its key generation is not among the secrets."""


def seal_evidence(secrets: ServerSecrets, evidence: Evidence, device: int, nonce: bytes) -> bytes:
    """Seal an evidence under the newest generation's key, bound to the device's number. `nonce` is 12 bytes."""
    return sealing.seal(secrets.current, codec.to_msgpack(evidence), nonce, _bound_to(device))


def open_evidence(secrets: ServerSecrets, sealed: bytes, device: int) -> Evidence:
    """Open what `seal_evidence` made. Raises `EvidenceBroken`."""
    try:
        return codec.evidence_from_msgpack(sealing.unseal(secrets, sealed, _bound_to(device)))
    except (sealing.SealBroken, msgspec.DecodeError) as error:
        raise EvidenceBroken("the sealed evidence cannot be opened") from error


def signature_holds(evidence: Evidence, public: bytes) -> bool:
    """Whether the request in evidence carries a signature of the raw 32-byte Ed25519 public key over its body."""
    try:
        signed = http_signatures.parse_signature_input(evidence.signature_input)
        base = signed_text(evidence, signed)
        signature = http_signatures.parse_signature(evidence.signature, signed.label)
        digest = evidence.headers.get("content-digest", "")
        return (
            "content-digest" in signed.components
            and http_signatures.content_digest_matches(digest, evidence.body)
            and http_signatures.verify_signature(http_signatures.public_key_of(public), signature, base)
        )
    except http_signatures.MalformedSignature:
        return False


def signed_text(evidence: Evidence, signed: SignatureInput) -> bytes:
    """The signature base of the request in evidence: what its device signed. Raises `MalformedSignature`."""
    path, _, query = evidence.path.partition("?")
    return http_signatures.signature_base(
        signed,
        method=evidence.method,
        path=path,
        query=query,
        authority=evidence.headers.get("host", ""),
        headers=evidence.headers,
    )


def _bound_to(device: int) -> bytes:
    return device.to_bytes(DEVICE_BYTES, "big")
