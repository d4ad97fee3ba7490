"""Chains over contacts that are simply given."""

from collections.abc import Sequence, Set

from projections.stays import EntryKnown, ExitKnown, Stay
from tracing.chain import Edge, Source, chain
from tracing.overlap import Contact, Encounter, united

END = 1_000


class Given:
    """Who meets whom from when to when; remembers what it was asked."""

    def __init__(self, *met: tuple[str, str, int, int]) -> None:
        self._met = met
        self.asked: list[list[list[Source]]] = []

    def __call__(self, groups: Sequence[Sequence[Source]], leave_out: Set[str]) -> list[list[Contact]]:
        self.asked.append([list(group) for group in groups])
        return [self._contacts(group, leave_out) for group in groups]

    def _contacts(self, group: Sequence[Source], leave_out: Set[str]) -> list[Contact]:
        encounters: dict[str, list[Encounter]] = {}
        for source in group:
            for one, other, start, end in self._met:
                begins = max(start, source.from_ms)
                if one == source.subject and other not in leave_out and begins < min(end, source.to_ms):
                    stay = Stay("cafe", start, end, EntryKnown.MEASURED, ExitKnown.MEASURED, ())
                    met = Encounter(one, "cafe", begins, min(end, source.to_ms), 1, 0, stay, stay)
                    encounters.setdefault(other, []).append(met)
        return [united(subject, met) for subject, met in encounters.items()]


def links(given: Given, depth: int, latency: int = 0, index: str = "f") -> list[tuple[int, str, list[tuple[str, int]]]]:
    found = chain([Source(subject, 0, END) for subject in index], depth, latency, given)
    return [(link.depth, link.contact.subject, [(edge.subject, edge.first) for edge in link.via]) for link in found]


def test_infection_moves_forward_in_time_only() -> None:
    given = Given(("f", "a", 100, 110), ("a", "b", 50, 60), ("a", "c", 200, 210), ("c", "d", 150, 160))
    assert links(given, 3) == [(1, "a", [("f", 100)]), (2, "c", [("a", 200)])]


def test_latency_delays_the_next_depth() -> None:
    given = Given(("f", "a", 100, 110), ("a", "b", 120, 160), ("a", "c", 120, 140))
    assert links(given, 2, latency=40) == [(1, "a", [("f", 100)]), (2, "b", [("a", 140)])]


def test_a_subject_keeps_its_smallest_depth_and_index_subjects_never_come_back() -> None:
    given = Given(("f", "a", 1, 9), ("f", "b", 1, 9), ("a", "b", 2, 9), ("a", "f", 2, 9), ("b", "c", 3, 9))
    assert links(given, 3) == [(1, "a", [("f", 1)]), (1, "b", [("f", 1)]), (2, "c", [("b", 3)])]


def test_every_edge_from_the_depth_before_is_kept_and_the_earliest_opens_the_window() -> None:
    given = Given(("f", "a", 1, 9), ("f", "b", 1, 9), ("b", "c", 20, 30), ("a", "c", 40, 50), ("c", "d", 5, 60))
    assert links(given, 3)[2:] == [(2, "c", [("a", 40), ("b", 20)]), (3, "d", [("c", 20)])]


def test_a_contact_by_two_edges_unites_their_exposures() -> None:
    given = Given(("f", "a", 1, 9), ("f", "b", 1, 9), ("b", "c", 20, 30), ("a", "c", 25, 50))
    (_, _, link) = chain([Source("f", 0, END)], 2, 0, given)
    assert (link.contact.ms, link.contact.first, link.contact.last) == (30, 20, 50)
    assert link.via == (Edge("a", 25), Edge("b", 20))


def test_index_subjects_are_asked_together_and_later_ones_alone_but_at_once() -> None:
    given = Given(("f", "a", 1, 9), ("g", "b", 2, 9))
    assert links(given, 2, index="fg") == [(1, "a", [("f", 1)]), (1, "b", [("g", 2)])]
    assert given.asked == [
        [[Source("f", 0, END), Source("g", 0, END)]],
        [[Source("a", 1, END)], [Source("b", 2, END)]],
    ]


def test_without_contacts_every_depth_is_empty() -> None:
    assert links(Given(), 3) == []
