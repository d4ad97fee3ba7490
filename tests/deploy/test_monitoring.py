"""Dashboard, alerts, rules and their documentation against a running service; and what it tells of people: nothing.

One whole service takes every kind of scan there is from known people, at the most talkative log level. The tests then
compare what it exposes and logs with what the files say.
"""

import contextlib
import http.client
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import pytest
import yaml
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from events.devices import Device
from events.problems import CATALOGUE
from events.scans import Kind, Receipt, Scan
from keys.codes import issue_place_code
from keys.enrolment import enrolled
from keys.pseudonyms import pseudonym_of_citizen
from storage.control import ControlLog
from storage.partitions import ONLY
from storage.rebuilds import Rebuilds
from tests.deploy import compose
from tests.deploy.promql import Selector, labels_named, selectors
from tests.journey.driver import Scanner, System

PROMETHEUS: Final = compose.ROOT / "deploy" / "prometheus"
DASHBOARD: Final = json.loads(
    (compose.ROOT / "deploy" / "grafana" / "dashboards" / "truyvet.json").read_text(encoding="utf-8")
)
MONITORING: Final = (compose.ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
TESTS: Final = Path(__file__).parent / "alerts.test.yml"
PROMTOOL: Final = shutil.which("promtool")
WAIT_SECONDS_MAX: Final = 30.0
HOUR_MS: Final = 3_600_000
WORKERS: Final = 2
CITIZEN: Final = "001201000001"
WALKER, BARE, CALLER = (bytes([number]) * 16 for number in (0x5A, 0x6B, 0x7C))
SERVER_MODE: Final = {"sink", "project", "trace"}
"""Processes that are one here, the store process, and have names of their own in a deployment."""
APPLIED: Final = 'truyvet_control_applied_timestamp_seconds{{process="{}"}}'
ALWAYS: Final = frozenset({"job", "instance"})
"""Labels that Prometheus adds by itself."""

Labels = dict[str, set[str]]


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What the service has said: its metrics as text and by name, its logs, a receipt, and whom it must not name."""

    texts: list[str]
    families: list[Metric]
    log: str
    receipt: Receipt
    secrets: list[str]

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The log's lines."""
        return [json.loads(line) for line in self.log.splitlines()]

    @property
    def series(self) -> dict[str, Labels]:
        """Every series by name: its labels, and the values that each has."""
        found: dict[str, Labels] = {}
        for family in self.families:
            for sample in family.samples:
                labels = found.setdefault(sample.name, {})
                for label, value in sample.labels.items():
                    labels.setdefault(label, set()).add(value)
        return found


@contextlib.contextmanager
def errors_to(path: Path) -> Iterator[None]:
    """What this process's children write to standard error goes to the file while this lasts."""
    before = os.dup(2)
    try:
        with path.open("wb") as file:
            os.dup2(file.fileno(), 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


def scrape(base: str) -> str:
    """One scrape, by a connection of its own: any worker may answer."""
    address = urlsplit(base)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=10)
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        assert answer.status == 200
        return answer.read().decode()
    finally:
        connection.close()


def value(text: str, series: str) -> float:
    """A series' value; 0 where it is not there."""
    found = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def traffic(system: System) -> tuple[Receipt, list[str]]:
    """Every kind of scan, refusals, a broken entry, a trace, a rebuild. Returns a receipt, and what names somebody."""
    now = int(time.time() * 1000)
    at = now - HOUR_MS
    code = system.code(WALKER, at - HOUR_MS, now + HOUR_MS)
    door = system.scanner("door-of-the-clinic", may_citizen_number=True, may_subject=True)
    phone = Scanner(Device(id="phone-of-somebody", number=4_000_000_007, subject=CALLER.hex()))
    system.register(enrolled(phone.device, phone.public, 0))
    wall = issue_place_code(system.secrets, door.device.id, issued=at - HOUR_MS, expires=None)
    scrape_once_followed(system)
    stranger = Scanner(Device(id="nobody-knows-me", number=9))

    receipt = system.client.post(
        *door.request(
            [
                Scan(1, at, Kind.IN, code=code),
                Scan(2, at, Kind.IN, cccd=CITIZEN),
                Scan(3, at, Kind.IN, subject=BARE.hex()),
                Scan(4, at, Kind.IN, code=code + "x"),
                Scan(5, at, Kind.IN, cccd="123456"),
                Scan(6, now + 10 * HOUR_MS, Kind.IN, code=code),
            ]
        )
    )
    assert (receipt.accepted, receipt.refused) == (3, 3)
    assert system.client.post(*phone.request([Scan(1, at, Kind.IN, place_code=wall)])).accepted == 1
    assert system.client.post(*door.request([Scan(7, at + 1, Kind.OUT, code=code)])).accepted == 1
    for scanner, body in ((stranger, None), (door, b"\xc1 is no MessagePack: " + CITIZEN.encode())):
        headers, signed = scanner.request([Scan(8, at, Kind.IN, cccd=CITIZEN)])
        status, _ = system.client.ask(system.settings.ingest, "POST", "/v1/scans", body or signed, headers)
        assert status >= 400
    system.redis.xadd(ONLY.scans, {"e": b"no entry, but " + CITIZEN.encode()})
    system.await_log()
    case = {"id": "case-17", "subject": WALKER.hex(), "confirmed_at": now, "purpose": "testing the journey"}
    status, answer = system.api("POST", "/v1/cases", msgspec.json.encode(case))
    assert status == 201, answer
    assert system.trace({"index": {"cases": ["case-17"]}, "min_seconds": 0})["contacts"]
    assert system.api("GET", f"/v1/subjects/{BARE.hex()}/nothing")[0] == 404
    assert system.api("GET", "/readyz")[0] == 200
    rebuilds = Rebuilds(system.redis)
    rebuilds.request("looked-at")
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while rebuilds.requested() is not None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    by_number = pseudonym_of_citizen(CITIZEN, system.secrets.pseudonym_key)
    named = [CITIZEN, code, code[-20:], wall, door.device.id, phone.device.id, str(phone.device.number), "case-17"]
    pseudonyms = [who.hex() for who in (WALKER, BARE, CALLER, by_number)]
    return receipt, [*named, *pseudonyms, *(text.upper() for text in pseudonyms), system.embedded.token]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    directory = tmp_path_factory.mktemp("watched")
    log = directory / "log"
    settings = {"TRUYVET_LOG_LEVEL": "debug", "TRUYVET_LOG_FORMAT": "json", "TRUYVET_INGEST_WORKERS": str(WORKERS)}
    with errors_to(log):
        system = System(directory / "data", **settings)
        with system:
            receipt, secrets = traffic(system)
            texts = [scrape_once_followed(system), scrape(system.settings.api)]
            _workers_speak_for_each_other(system, texts[0])
    families = [family for text in texts for family in text_string_to_metric_families(text)]
    return Seen(texts=texts, families=families, log=log.read_text(encoding="utf-8"), receipt=receipt, secrets=secrets)


def scrape_once_followed(system: System) -> str:
    """Ingest's metrics, once each worker has heard of what was registered last."""
    newest = ControlLog(system.redis).newest_ms()
    assert newest is not None
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while value(text := scrape(system.settings.ingest), APPLIED.format("ingest")) != newest / 1000:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return text


def _workers_speak_for_each_other(system: System, before: str) -> None:
    """Whichever worker is asked says the same; one that is killed takes nothing along of what it had counted."""
    accepted = 'truyvet_ingest_scans_total{verdict="accepted"}'
    assert value(before, accepted) == 5
    assert value(before, "truyvet_ingest_workers") == WORKERS
    assert {value(scrape(system.settings.ingest), accepted) for _ in range(8)} == {5}
    started = value(before, 'truyvet_start_time_seconds{process="ingest"}')
    os.kill(system.embedded.pids["ingest-1"], signal.SIGKILL)
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    after = before
    # A worker that begins says when it was started before it counts itself.
    while (
        value(after, 'truyvet_start_time_seconds{process="ingest"}') <= started
        or value(after, "truyvet_ingest_workers") != WORKERS
    ):
        assert time.monotonic() < deadline
        with contextlib.suppress(OSError, http.client.HTTPException):
            after = scrape(system.settings.ingest)
    assert value(after, accepted) == 5


def test_every_step_was_measured(seen: Seen) -> None:
    """Else what the files name would be compared with counters that nothing moves."""
    ingest, store = seen.texts
    for step in ("receive", "verify", "judge", "seal", "publish", "answer"):
        assert value(ingest, f'truyvet_ingest_step_seconds_count{{step="{step}"}}') >= 3
    for step in ("claim", "read", "choose", "freeze", "insert", "commit", "trim", "announce"):
        assert value(store, f'truyvet_sink_step_seconds_count{{step="{step}"}}') >= 1
    for step in ("wait", "search", "answer", "record"):
        assert value(store, f'truyvet_trace_step_seconds_count{{step="{step}"}}') == 1
    for model in ("scans_by_subject", "scans_by_place_hour"):
        assert value(store, f'truyvet_projector_model_seconds_count{{model="{model}"}}') >= 1
    assert value(ingest, "truyvet_ingest_batch_scans_sum") == 8
    requests = re.findall(r"^truyvet_ingest_requests_total\{.*} (\S+)$", ingest, re.MULTILINE)
    assert value(ingest, "truyvet_ingest_batch_bytes_count") == sum(map(float, requests)) >= 5
    assert value(ingest, 'truyvet_ingest_scans_total{verdict="bad_code"}') == 1
    assert value(ingest, 'truyvet_ingest_requests_total{problem="key-unknown",status="401"}') == 1
    assert value(store, "truyvet_sink_range_rows_sum") == value(store, "truyvet_log_rows") == 5
    assert value(store, "truyvet_projector_span_rows_sum") == 5
    assert value(store, "truyvet_sink_poison_total") == 1
    assert value(store, "truyvet_audit_wait_seconds_count") >= 1
    assert value(store, "truyvet_rebuild_rows_done") == 5
    newest = value(store, "truyvet_control_newest_timestamp_seconds")
    assert newest == value(store, APPLIED.format("store")) == value(ingest, APPLIED.format("ingest")) > 0
    for text, process in ((ingest, "ingest"), (store, "store")):
        assert value(text, f'truyvet_ready{{process="{process}",reason="ready"}}') == 1
        assert value(text, f'truyvet_check_ok{{check="stream",process="{process}"}}') == 1
        assert value(text, f'truyvet_resident_bytes{{process="{process}"}}') > 1_000_000


def test_the_list_of_metrics_is_complete(seen: Seen) -> None:
    rows = re.findall(r"^\| `(truyvet_\w+)(?:\{([a-z,]+)})?` \| (\w+) \| \S", MONITORING, re.MULTILINE)
    listed = {name: (kind, set(labels.split(",")) - {""}) for name, labels, kind in rows}
    assert len(rows) == len(listed)
    exposed = {}
    for family in seen.families:
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        exposed[name] = (family.type, labels)
    assert listed == exposed


def expressions() -> Iterator[tuple[str, str, list[str]]]:
    """Where, which expression, and the texts that show its labels."""
    for file in ("rules.yml", "alerts.yml"):
        for group in yaml.safe_load((PROMETHEUS / file).read_text(encoding="utf-8"))["groups"]:
            for rule in group["rules"]:
                yield rule.get("alert") or rule["record"], rule["expr"], list(rule.get("annotations", {}).values())
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"], [target["legendFormat"]]


def recorded() -> dict[str, Labels]:
    """What the recording rules make: their names, and the labels that they keep."""
    groups = yaml.safe_load((PROMETHEUS / "rules.yml").read_text(encoding="utf-8"))["groups"]
    return {
        rule["record"]: {label: set() for label in labels_named(rule["expr"])}
        for rule in itertools.chain.from_iterable(group["rules"] for group in groups)
    }


def known_values(seen: Seen) -> Labels:
    """Values that a label may have although this service has not shown them."""
    verdicts = seen.series["truyvet_ingest_scans_total"]["verdict"]
    statuses = {str(kind.status) for kind in CATALOGUE.values()}
    return {"process": set(SERVER_MODE), "problem": set(CATALOGUE), "status": statuses, "verdict": verdicts}


def test_files_name_only_what_is_exposed(seen: Seen) -> None:
    series = seen.series | recorded()
    everything = list(expressions())
    assert len(everything) > 70
    for where, expression, texts in everything:
        named = selectors(expression)
        assert named, where
        labels: set[str] = set(ALWAYS)
        for selector in named:
            assert selector.name in series, where
            labels |= series[selector.name].keys()
            check_matchers(selector, series[selector.name], known_values(seen))
        assert labels_named(expression) <= labels, where
        shown = set(re.findall(r"\{\{\s*(?:\$labels\.)?([a-z_]+)\s*}}", " ".join(texts)))
        assert shown <= (labels_named(expression) or labels), where


def check_matchers(selector: Selector, labels: Labels, known: Labels) -> None:
    for matcher in selector.matchers:
        assert matcher.label in labels, selector
        values = labels[matcher.label] | known.get(matcher.label, set())
        if matcher.op in ("=", "!="):
            assert matcher.value in values, selector
        else:
            for alternative in matcher.value.split("|"):
                assert any(re.fullmatch(alternative, known_value) for known_value in values), selector


def test_the_reader_of_expressions_reads() -> None:
    expression = (
        'histogram_quantile(0.99, sum by (le, step) (rate(a_bucket{step="x",b!~"c|d"}[5m]))) > 1e-9'
        " and on () hour() < 14 or c:d:rate5m unless vector(0)"
    )
    found = selectors(expression)
    assert [selector.name for selector in found] == ["a_bucket", "c:d:rate5m"]
    assert [(matcher.label, matcher.op, matcher.value) for matcher in found[0].matchers] == [
        ("step", "=", "x"),
        ("b", "!~", "c|d"),
    ]
    assert labels_named(expression) == {"le", "step"}


def test_the_dashboard_is_whole() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 20
    source = yaml.safe_load((compose.ROOT / "deploy" / "grafana" / "datasource.yml").read_text(encoding="utf-8"))
    (provisioned,) = source["datasources"]
    uids = {target["datasource"]["uid"] for panel in panels for target in panel.get("targets", [])}
    assert uids == {provisioned["uid"]}
    taken = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in panels
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24


def test_prometheus_asks_whom_compose_runs() -> None:
    configuration = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8"))
    asked = {
        (job["job_name"], name, found["port"])
        for job in configuration["scrape_configs"]
        for found in job["dns_sd_configs"]
        for name in found["names"]
    }
    checked = {
        (name, name, int(found[1]))
        for name, service in compose.processes().items()
        if (found := re.search(r"127\.0\.0\.1:(\d+)/", str(service.get("healthcheck"))))
    }
    assert asked == checked
    services = compose.services()
    mounted = {volume.split(":")[1] for volume in services["prometheus"]["volumes"]}
    assert set(configuration["rule_files"]) <= mounted
    provider = yaml.safe_load((compose.ROOT / "deploy" / "grafana" / "provider.yml").read_text(encoding="utf-8"))
    (folder,) = {each["options"]["path"] for each in provider["providers"]}
    assert any(volume.split(":")[1].startswith(f"{folder}/") for volume in services["grafana"]["volumes"])


def test_alerts_are_explained_and_tested() -> None:
    alerts = {where for where, _, texts in expressions() if where.startswith("Truyvet") and texts}
    section = MONITORING.partition("\n## Alerts\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"`(Truyvet\w+)`", section)) == alerts
    expected = re.findall(r'alertname="(Truyvet\w+)"', TESTS.read_text(encoding="utf-8"))
    assert set(expected) == alerts


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed here (Debian: apt-get install prometheus)")
@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "rules", PROMETHEUS / "rules.yml", PROMETHEUS / "alerts.yml"],
        ["check", "config", "--syntax-only", PROMETHEUS / "prometheus.yml"],
        ["test", "rules", TESTS],
    ],
    ids=["rules", "configuration", "alerts"],
)
def test_promtool_agrees(arguments: list[str | Path]) -> None:
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nobody_is_named(seen: Seen) -> None:
    for text in (*seen.texts, seen.log):
        assert [secret for secret in seen.secrets if secret in text] == []
    allowed = {"le", "step", "status", "problem", "verdict", "model", "operation", "process", "reason", "check"}
    labels = {label for names in seen.series.values() for label in names}
    assert labels == allowed | {"change", "version", "python"}


def test_logs_have_no_other_fields_than_those_listed(seen: Seen) -> None:
    section = MONITORING.partition("\n## Logs\n")[2].partition("\n## ")[0]
    listed = {name for cell in re.findall(r"^\| (`.*?) \|", section, re.M) for name in re.findall(r"`([a-z]+)`", cell)}
    written = {name for line in seen.lines for name in line}
    assert {"batch", "first", "refused", "problem", "logger"} <= written <= listed


def test_a_batch_is_followed_through_the_logs(seen: Seen) -> None:
    batch = seen.receipt.batch
    (taken,) = [line for line in seen.lines if line.get("batch") == batch]
    assert (taken["process"], taken["accepted"]) == ("ingest", 3)
    assert taken["refused"] == {"bad_code": 1, "bad_citizen_number": 1, "time_out_of_range": 1}
    (laid,) = [
        line
        for line in seen.lines
        if line["logger"] == "truyvet.sink" and "first" in line and order(line["first"]) <= order(batch)
        if order(batch) <= order(line["last"])
    ]
    assert laid["rows"] >= 3
    folded = [line for line in seen.lines if line["logger"] == "truyvet.projector" and "received" in line]
    assert any(line["received"] >= laid["received"] for line in folded)
    (poison,) = [line for line in seen.lines if line["level"] == "error"]
    assert "poison" in poison["message"]


def order(entry: str) -> tuple[int, ...]:
    """An entry's id as numbers."""
    return tuple(int(part) for part in entry.split("-"))
