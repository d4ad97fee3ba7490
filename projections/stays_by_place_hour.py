"""Who stayed here around then? The settled stays, by place and hour: what `projections.stays.walk` gives of every scan
received by a mark M, with places and revocations as of M, kept by `projections.settler`.

How to ask (columns: `storage/migrations/0014_finer_stays.sql`; what lies in two of them: `projections/stay_rows.py`):

- Read the mark first: `storage.settled.SettledMarks.read()`. None: nothing is settled, walk the scans. A mark with
  `unplaced` places: walk the scans, the answer must count those that were left out. A mark with another `kept_from`
  than the registry's: walk the scans, everything is being settled anew without those that have expired.
- The stays hold for a question as of T ≥ M if the registries' part in stays has not changed in between:
  `not registry.stay_rules.changed(M, T)`. For a T before the mark walk the scans.
- Ask for `place_hour IN` the hours `(start - dwell) // HOUR_MS` to `(end - 1) // HOUR_MS` of the span at the place,
  `dwell` being the place's as of T: every stay that touches the span is among the rows. Rows come in versions: of one
  (place_hour, subject, start, entry) the greatest `settled_for` counts; exit `gone` means that there is no such stay.
  A long stay may come under several hours, with the same content: place, subject, start and entry name it. One that a
  day has ended comes under its last hour, too.
- `exit` `unended`: no scan ended the stay by its limit. As of T it ends at `end`, exit `dwell`, where `end` ≤ T; else
  it is open at T, and does not exist where `start` ≥ T. Every other stay is as it stands, even if it ends after T.
- A subject of whom any row has `settled_for` > M is being settled anew this moment: walk their scans.
- What came in after M and by T changes stays. Nothing did where the read models' watermark has the mark's `rows`. Else
  a subject with such scans, the earliest of which happened at `t`, keeps the rows with `end` < t (of the unended ones
  those with `end` ≤ T, too); all else of theirs must be walked from their scans. They may be found at places where no
  settled row names them: then one of those scans lies there, entering from a dwell before the span on, or leaving up to
  a dwell after it.
"""

from typing import Final

from projections.model import Digest
from projections.stay_rows import STAY
from storage.clickhouse import Store

STAYS_BY_PLACE_HOUR: Final = "stays_by_place_hour"


def digest(store: Store, table: str, *, upto: int, final: bool = True) -> Digest:
    """The digest of all stays in a table of them as of a mark (ms), whenever each was settled.

    Where a limit has passed by then, it makes no difference whether a scan came later. Not `final`: of the rows as they
    lie, those that later ones replace too, which is found several times as fast.
    """
    # Bytes as they lie say as much as what they are made of, and need not be taken apart.
    before_exit = sum(STAY[name].itemsize for name in ("subject", "start", "entry", "end"))
    columns = (
        f"place_hour, substring(stay, 1, {before_exit}),"
        " if(exit = 'unended' AND end <= mark, 'dwell', exit::String), proof"
    )
    rows = store.rows(
        "WITH fromUnixTimestamp64Milli({upto:Int64}, 'UTC') AS mark"
        f" SELECT count(), hex(groupBitXor(cityHash64({columns}))), hex(sum(cityHash64({columns})))"
        f" FROM {table} {'FINAL ' if final else ''}WHERE exit != 'gone'",
        {"upto": upto},
    )
    count, xor, total = rows[0]
    return Digest(int(count), f"{xor}{total}".lower())
