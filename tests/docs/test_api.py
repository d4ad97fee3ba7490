"""docs/api.md against the program: its tables are complete, and its worked example is true to the byte."""

import base64
import hashlib
import re
import subprocess
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from events.control import DeviceEnrolled, DeviceKeyAdded
from events.devices import Device, DeviceKey
from events.places import Category
from events.problems import CATALOGUE
from events.scans import BATCH_SCANS_MAX, HOW_NUMBER, KIND_NUMBER, LOG_ROW, SEQ_MAX, How, Kind, Refusal, Scan
from ingest.decode import decode_body
from ingest.judge import judge
from ingest.limits import EdgeLimits
from ingest.verify import Request, verify_request
from keys import http_signatures
from keys.codes import CodeOpener, issue_person_code, verify_code
from tests.ingest.scene import AN, DAY, HOUR, LIMITS, NOW, PATH, SECRETS, Scene
from tracing.access import ROLE_PERMISSIONS
from tracing.audit import PURPOSE_CHARACTERS_MAX, PURPOSE_CHARACTERS_MIN
from tracing.cursor import PAGE_ITEMS_DEFAULT, PAGE_ITEMS_MAX
from tracing.operation import OPERATION, Operation
from tracing.question import (
    DEPTH_MAX,
    INDEX_SUBJECTS_MAX,
    LAG_SECONDS_MAX,
    LATENCY_SECONDS_MAX,
    MIN_SECONDS_DEFAULT,
    WINDOW_DAYS_MAX,
    Question,
)
from tracing.service import ROUTES

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "api.md").read_text(encoding="utf-8")
KEYID = "gate-1.1"
NONCE = bytes.fromhex("0f1e2d3c4b5a69788796a5b4")


def example(name: str) -> str:
    """The one fenced block of this name."""
    (found,) = re.findall(rf"^```\w+ {name}\n(.*?)\n```$", TEXT, re.MULTILINE | re.DOTALL)
    return str(found)


def section(heading: str) -> str:
    """The text under a heading, up to the next one of its level or above."""
    level = heading.partition(" ")[0]
    start = TEXT.index(f"\n{heading}\n")
    after = re.search(rf"^#{{1,{len(level)}}} ", TEXT[start + len(heading) + 2 :], re.MULTILINE)
    return TEXT[start : start + len(heading) + 2 + after.start()] if after else TEXT[start:]


def table(heading: str) -> list[list[str]]:
    """The rows of the first table under a heading, cells without their code marks; no head."""
    rows = re.search(r"^\|.*?(?=\n\n|\n?\Z)", section(heading), re.MULTILINE | re.DOTALL)
    assert rows
    return [[cell.strip().strip("`") for cell in row.strip("|").split(" | ")] for row in rows[0].splitlines()[2:]]


def private_key() -> Ed25519PrivateKey:
    key = load_pem_private_key((example("example-private-key") + "\n").encode(), None)
    assert isinstance(key, Ed25519PrivateKey)
    return key


def request_headers() -> dict[str, str]:
    head, _, _ = example("example-request").partition("\n\n")
    lines = head.splitlines()
    assert lines[0] == f"POST {PATH} HTTP/1.1"
    return dict(line.split(": ", 1) for line in lines[1:])


def test_the_example_is_what_the_code_computes() -> None:
    body = example("example-body").encode()
    headers = request_headers()
    signed = http_signatures.sign_request(
        private_key(),
        KEYID,
        method="POST",
        path=PATH,
        content_type="application/json",
        body=body,
        created=NOW // 1000,
    )
    assert signed.items() <= headers.items()
    assert headers["Content-Length"] == str(len(body))
    assert f"The body, {len(body)} bytes" in TEXT
    assert example("example-request").partition("\n\n")[2].encode() == body
    signature_input = http_signatures.parse_signature_input(headers["Signature-Input"])
    base = http_signatures.signature_base(
        signature_input,
        method="POST",
        path=PATH,
        query="",
        authority="",
        headers={name.lower(): value for name, value in headers.items()},
    )
    assert example("example-signature-base").encode() == base
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    assert headers["Content-Digest"] == f"sha-256=:{digest}:"


def test_openssl_agrees_with_the_example(tmp_path: Path) -> None:
    key, base, signature = tmp_path / "key.pem", tmp_path / "base", tmp_path / "signature"
    key.write_text(example("example-private-key") + "\n", encoding="ascii")
    base.write_bytes(example("example-signature-base").encode())
    command = ["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", str(key), "-in", str(base), "-out", str(signature)]
    subprocess.run(command, check=True)
    assert request_headers()["Signature"] == f"sig=:{base64.b64encode(signature.read_bytes()).decode()}:"
    public = subprocess.run(
        ["openssl", "pkey", "-in", str(key), "-pubout", "-outform", "DER"], check=True, capture_output=True
    ).stdout
    assert base64.b64encode(public[-32:]).decode() == example("example-public-key")


def test_the_edge_takes_the_example() -> None:
    scene = Scene()
    public = base64.b64decode(example("example-public-key"))
    scene.record(DeviceEnrolled(Device(id="gate-1", number=77, place="mall")))
    scene.record(DeviceKeyAdded(DeviceKey(device="gate-1", key=1, public=public, valid_from=0)))
    headers = {name.lower(): value for name, value in request_headers().items()}
    body = example("example-body").encode()
    verified = verify_request(Request("POST", PATH, "", headers["host"], headers, body), scene.keyring, NOW, LIMITS)
    batch = decode_body(body, headers["content-type"], "", LIMITS)
    judged = judge(
        batch,
        verified.device,
        verified.key,
        places=scene.places,
        keyring=scene.keyring,
        opener=CodeOpener(SECRETS),
        pseudonym_key=SECRETS.pseudonym_key,
        now_ms=NOW,
        limits=LIMITS,
    )
    assert judged.verdicts == []
    row = LOG_ROW.unpack(judged.rows)
    assert row == (77, 1, 1, NOW, 0, 1, AN, KIND_NUMBER[Kind.IN], HOW_NUMBER[How.CODE])


def test_the_codes_layout() -> None:
    code = example("example-code")
    assert code == issue_person_code(SECRETS, AN, vehicle=False, issued=NOW - HOUR, expires=NOW + 13 * DAY, nonce=NONCE)
    assert code.rpartition(".")[0] in example("example-body")
    head = verify_code(code, {1: base64.b64decode(example("example-issuer"))})
    raw = base64.urlsafe_b64decode(code.split(".")[1] + "==")
    assert len(raw) == 57
    assert (raw[0], raw[1], raw[2]) == (1, 1, 0)
    assert int.from_bytes(raw[3:5], "big") == head.kid == 1
    assert int.from_bytes(raw[5:9], "big") * 1000 == head.issued == NOW - HOUR
    assert int.from_bytes(raw[9:13], "big") * 1000 == head.expires == NOW + 13 * DAY
    assert raw[13:25] == head.code == NONCE
    ranges = [row[0] for row in table("## Codes")]
    assert ranges == ["0", "1", "2", "3–4", "5–8", "9–12", "13–24", "25–56"]


def test_every_verdict_is_listed() -> None:
    rows = table("### Verdicts")
    assert [row[0] for row in rows] == [refusal.value for refusal in Refusal]
    assert all(len(row) == 3 and row[1] and row[2] for row in rows)


def test_every_problem_is_listed() -> None:
    rows = {row[0]: (row[1], row[2]) for row in table("## Problems")}
    assert rows == {name: (str(kind.status), kind.action) for name, kind in CATALOGUE.items()}


def test_every_limit_is_listed() -> None:
    limits = {name: float(re.sub(r"[^\d.].*", "", value.replace(",", ""))) for name, value in table("### Limits")}
    assert limits == msgspec.structs.asdict(EdgeLimits()) | {"batch_scans_max": BATCH_SCANS_MAX}


def test_every_field_of_a_scan_is_listed() -> None:
    named = [name for row in table("### The body") for name in re.findall(r"[a-z_]+", row[0])]
    assert named == list(Scan.__struct_fields__)
    assert f"1 to {SEQ_MAX}" in section("### The body")


def test_roles_and_permissions() -> None:
    rows = {row[0]: set(re.findall(r"[a-z]+(?::[a-z]+)?", row[1])) for row in table("### Tokens and roles")}
    assert rows == {role.value: {one.value for one in may} for role, may in ROLE_PERMISSIONS.items()}
    text = section("### Tokens and roles")
    assert f"{PURPOSE_CHARACTERS_MIN} to {PURPOSE_CHARACTERS_MAX} characters" in text
    assert f"1 to {PAGE_ITEMS_MAX}, default {PAGE_ITEMS_DEFAULT}" in text


def test_every_endpoint_is_listed() -> None:
    expected = []
    for route in ROUTES:
        operation = route.opt[OPERATION]
        assert isinstance(operation, Operation)
        purpose = "" if not operation.person else "header" if operation.purpose_in_header else "body"
        for path in route.paths:
            for method in route.http_methods:
                expected.append((str(method), re.sub(r":\w+}", "}", path), operation.permission or "", purpose))
    rows = [(row[0], row[1], row[2] if len(row) > 2 else "", row[3] if len(row) > 3 else "") for row in _endpoints()]
    assert rows == expected


def _endpoints() -> list[list[str]]:
    lines = [line for line in section("### Endpoints").splitlines() if line.startswith("| `")]
    return [[cell.strip().strip("`") for cell in line.split("|")[1:-1]] for line in lines]


def test_parameters_of_a_trace() -> None:
    rows = table("### Traces")
    named = [name for row in rows for name in re.findall(r"[a-z_]+", row[0])]
    assert set(named) == set(Question.__struct_encode_fields__)
    text = section("### Traces")
    for limit in (INDEX_SUBJECTS_MAX, LAG_SECONDS_MAX, LATENCY_SECONDS_MAX):
        assert f"up to {limit:,}" in text
    assert f"up to {WINDOW_DAYS_MAX} days" in text
    assert f"1 to {DEPTH_MAX}" in text
    assert f"| {MIN_SECONDS_DEFAULT} |" in text


def test_every_category_is_listed() -> None:
    text = section("### Places")
    assert re.findall(r"`([a-z_]+)`", text[text.index("Categories:") :]) == [category.value for category in Category]


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    anchors = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in re.findall(r"^#+ (.*)$", text, re.M)}
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in anchors, target
        elif "://" not in target:
            assert (page.parent / target.partition("#")[0]).exists(), target
