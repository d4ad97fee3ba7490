"""trace.growth: the same question with the same answer, in a tenth of the data and in all of it.

Both services run at once and are asked in turn, so that whatever else the machine does meets both alike; as of the
latest moment that they see already, so that no waiting is measured.
"""

from typing import Final

from loadtests.bench.figures import Times
from loadtests.bench.report import Result
from loadtests.bench.trace.asking import Asker, evidence_in
from loadtests.bench.trace.session import Session

RATIO_MAX: Final = 1.3


def run(session: Session) -> Result:
    """The p50 in all of the data beside that in a tenth."""
    window, subjects = session.window, session.subjects(session.index)
    whole, tenth = session.whole.up(), session.tenth.up()
    session.whole.await_quiet()
    session.say(f"asking two services in turn about {len(subjects)} people")
    failures: list[str] = []
    times: dict[str, list[float]] = {"whole": [], "tenth": []}
    with Asker(whole) as of_whole, Asker(tenth) as of_tenth:
        for subject, person in zip(subjects, session.index, strict=True):
            # What is open is open until the moment that is asked about, so it must be the same one.
            as_of = max(of_whole.newest(), of_tenth.newest())
            ours, theirs = (asker.trace([subject], window, as_of=as_of).body for asker in (of_whole, of_tenth))
            if evidence_in(ours) != evidence_in(theirs):
                failures.append(f"index subject {person} has another answer in a tenth of the data")
        askers = [("whole", of_whole), ("tenth", of_tenth)]
        for turn in session.turns():
            askers.reverse()
            for name, asker in askers:
                times[name].append(1000 * asker.trace([subjects[turn]], window, as_of=asker.newest()).seconds)
    session.tenth.down()
    in_whole, in_tenth = Times(times["whole"]), Times(times["tenth"])
    ratio = in_whole.p50 / in_tenth.p50
    return Result(
        bench="trace.growth",
        value=in_whole.p50,
        unit="ms (p50)",
        baseline="ms (p50) in a tenth of the data",
        baseline_value=in_tenth.p50,
        target=f"≤ {RATIO_MAX:g} × a tenth of the data",
        met=ratio <= RATIO_MAX,
        progress=RATIO_MAX / ratio,
        figures={
            "p95": in_whole.p95,
            "baseline_p95": in_tenth.p95,
            "scans": session.whole.scans,
            "baseline_scans": session.tenth.scans,
        },
        failures=failures,
    )
