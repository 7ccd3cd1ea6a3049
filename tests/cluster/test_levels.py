"""Cluster, group and machine: the lowest level that has a setting wins as a whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxseal.cluster import change, levels
from mxseal.cluster.levels import Cluster, Level, Member, Refused, new_cluster, view
from mxseal.cluster.settings import (
    MACHINE,
    certificate_of,
    certificate_setting,
    clusterable,
    join,
    keys_of,
    split,
    whole_settings,
)
from mxseal.config.check import check
from mxseal.config.model import Certificate, Destination, Dns, Document, Interface, Queue, Ssl, TlsSettings
from tests.config.documents import PEM, document, documents

CLUSTER, GROUP = Level("cluster", "americas"), Level("group", "Main_Group")
ONE, TWO = Level("machine", "mx1"), Level("machine", "mx2")
DNS = tuple(Dns(timeout=seconds) for seconds in (1.0, 2.0, 3.0))


def cluster(first: Document | None = None) -> Cluster:
    """Two machines in one group; mx1 has made the cluster."""
    made = new_cluster("americas", "mx1", Member(group="", settings={}), first or document())
    other = document(hostname="mx2.example.com", workers=2, dns=Dns(timeout=9.0))
    return levels.add_machine(made, "mx2", Member(group="Main_Group", settings={}), other)


def at(cluster: Cluster, level: Level, **values: object) -> Cluster:
    """The cluster with a new setting at a level."""
    changed = split(Document.model_validate(values))
    return levels.with_settings(cluster, level, {**cluster.at(level), **changed})


# --- settings ---------------------------------------------------------------------------------------------


def test_every_key_of_the_document_belongs_to_one_setting() -> None:
    keys = [key for name in whole_settings() for key in keys_of(name)]
    assert sorted(keys) == sorted(set(Document.model_fields) - {"certificates"})


@given(documents)
def test_a_document_is_its_settings(given: Document) -> None:
    names = [entry.name for entry in given.certificates]
    if len(set(names)) == len(names):
        assert join(split(given)) == given


def test_hostname_interfaces_and_workers_are_each_machines_own() -> None:
    assert [name for name in whole_settings() if not clusterable(name)] == [MACHINE]
    assert set(keys_of(MACHINE)) == {"hostname", "interfaces", "workers"}


# --- inheritance ------------------------------------------------------------------------------------------


@given(documents)
def test_the_machine_that_makes_a_cluster_goes_on_as_before(first: Document) -> None:
    names = [entry.name for entry in first.certificates]
    if len(set(names)) == len(names):
        made = new_cluster("americas", "mx1", Member(group="", settings={}), first)
        assert view(made, ONE) == first


def test_a_machine_that_joins_keeps_only_what_is_its_own() -> None:
    joined = view(cluster(), TWO)
    assert (joined.hostname, joined.workers) == ("mx2.example.com", 2)
    assert joined.dns == Dns()
    assert joined.listeners == document().listeners


def test_a_machine_that_joins_can_keep_settings_at_its_own_level() -> None:
    other = document(dns=DNS[0], queue=Queue(max_messages=7))
    made = levels.add_machine(cluster(), "mx3", Member(group="Main_Group", settings={}), other, ("dns",))
    joined = view(made, Level("machine", "mx3"))
    assert (joined.dns, joined.queue) == (DNS[0], Queue())


@pytest.mark.parametrize(
    ("having", "seen"),
    [
        ([], Dns()),
        ([CLUSTER], DNS[0]),
        ([CLUSTER, GROUP], DNS[1]),
        ([CLUSTER, GROUP, ONE], DNS[2]),
        ([CLUSTER, ONE], DNS[2]),
        ([GROUP], DNS[1]),
        ([ONE], DNS[2]),
    ],
)
def test_the_lowest_level_that_has_a_setting_wins(having: list[Level], seen: Dns) -> None:
    made = cluster()
    for level in having:
        made = at(made, level, dns=DNS[[CLUSTER, GROUP, ONE].index(level)])
    assert view(made, ONE).dns == seen
    assert levels.origin(made, ONE, "dns") == (having[-1] if having else None)


def test_a_setting_is_inherited_as_a_whole_and_not_key_by_key() -> None:
    made = at(cluster(), CLUSTER, dns=Dns(timeout=1.0, servers=("127.0.0.1:53",)))
    made = at(made, ONE, dns=Dns(timeout=2.0))
    assert view(made, ONE).dns == Dns(timeout=2.0)


def test_a_new_override_is_empty_and_is_inherited_as_empty() -> None:
    made = change.begin(at(cluster(), CLUSTER, dns=DNS[0]), GROUP, "dns")
    assert view(made, ONE).dns == Dns()
    assert levels.origin(made, ONE, "dns") == GROUP
    assert view(made, CLUSTER).dns == DNS[0]


def test_a_certificate_is_a_setting_of_its_own_and_the_others_go_on_being_inherited() -> None:
    shared = Certificate(name="shared", certificate=PEM)
    own = Certificate(name="Demo", certificate=PEM, send_exact_path=False)
    made = at(cluster(document(certificates=(Certificate(name="Demo", certificate=PEM), shared))), ONE)
    made = at(made, ONE, certificates=(own,))
    assert {entry.name: entry.send_exact_path for entry in view(made, ONE).certificates} == {
        "Demo": False,
        "shared": True,
    }
    assert view(made, TWO).certificate("Demo") == Certificate(name="Demo", certificate=PEM)


def test_it_is_told_where_an_override_stands_in_the_way_of_a_change() -> None:
    made = at(at(cluster(), ONE, dns=DNS[2]), GROUP, dns=DNS[1])
    assert levels.overridden(made, CLUSTER, "dns") == [GROUP, ONE]
    assert levels.overridden(made, GROUP, "dns") == [ONE]


# --- editing at a level -----------------------------------------------------------------------------------


def test_a_change_at_the_clusters_level_reaches_all_machines() -> None:
    seen = view(cluster(), CLUSTER)
    made = change.edit(cluster(), CLUSTER, seen.model_copy(update={"dns": DNS[0]}))
    assert [view(made, each).dns for each in (ONE, TWO)] == [DNS[0], DNS[0]]
    assert check(view(made, TWO)) == check(view(cluster(), TWO))


def test_a_level_without_its_own_value_does_not_take_a_change() -> None:
    made = at(cluster(), CLUSTER, dns=DNS[0])
    wanted = view(made, ONE).model_copy(update={"dns": DNS[1]})
    with pytest.raises(Refused, match=r"'dns' comes from Cluster americas; Machine mx1 has none"):
        change.edit(made, ONE, wanted)
    copied = change.copy(made, "dns", ONE, ONE)
    assert view(change.edit(copied, ONE, wanted), ONE).dns == DNS[1]


def test_what_is_as_by_default_everywhere_can_be_set_at_any_level() -> None:
    wanted = view(cluster(), ONE).model_copy(update={"dns": DNS[1]})
    made = change.edit(cluster(), ONE, wanted)
    assert (view(made, ONE).dns, view(made, TWO).dns) == (DNS[1], Dns())


def test_an_override_that_is_set_back_to_the_defaults_stays_an_override() -> None:
    made = at(at(cluster(), CLUSTER, dns=DNS[0]), ONE, dns=DNS[1])
    made = change.edit(made, ONE, view(made, ONE).model_copy(update={"dns": Dns()}))
    assert view(made, ONE).dns == Dns()


def test_interfaces_are_changed_at_a_machines_level_only() -> None:
    wanted = view(cluster(), CLUSTER).model_copy(update={"interfaces": (Interface(name="Web"),)})
    with pytest.raises(Refused, match="each machine's own"):
        change.edit(cluster(), CLUSTER, wanted)


def test_an_inherited_certificate_is_not_deleted_at_a_machine() -> None:
    with pytest.raises(Refused, match="'certificate Demo' comes from Cluster americas"):
        change.edit(cluster(), ONE, view(cluster(), ONE).model_copy(update={"certificates": ()}))


# --- between levels ---------------------------------------------------------------------------------------


def test_a_setting_that_is_moved_up_holds_for_all_and_is_gone_below() -> None:
    made = at(cluster(), ONE, dns=DNS[2])
    made = change.move(made, "dns", ONE, CLUSTER)
    assert view(made, TWO).dns == DNS[2]
    assert "dns" not in made.at(ONE)


def test_a_cleared_override_is_inherited_again() -> None:
    made = at(at(cluster(), CLUSTER, dns=DNS[0]), ONE, dns=DNS[2])
    assert view(change.clear(made, ONE, "dns"), ONE).dns == DNS[0]


@pytest.mark.parametrize("setting", [MACHINE, "no such", certificate_setting("absent")])
def test_what_is_no_setting_of_a_cluster_is_not_moved(setting: str) -> None:
    with pytest.raises(Refused):
        change.copy(cluster(), setting, ONE, CLUSTER)


# --- machines and groups ----------------------------------------------------------------------------------


def test_a_machine_that_is_removed_goes_on_with_what_it_had() -> None:
    made = at(at(cluster(), GROUP, dns=DNS[1]), TWO, queue=Queue(max_messages=5))
    seen = view(made, TWO)
    assert levels.lost(made, "mx2") == ["queue"]
    rest, flat = levels.remove_machine(made, "mx2")
    assert flat == seen
    assert list(rest.machines) == ["mx1"]


def test_a_group_with_machines_and_the_last_group_are_not_deleted() -> None:
    with pytest.raises(Refused, match="has machines"):
        levels.delete_group(cluster(), "Main_Group")
    empty = levels.add_group(cluster(), "other")
    assert list(levels.delete_group(empty, "other").groups) == ["Main_Group"]


def test_a_machine_in_another_group_inherits_from_that() -> None:
    made = at(levels.add_group(cluster(), "other"), Level("group", "other"), dns=DNS[1])
    made = levels.move_machine(made, "mx2", "other")
    assert (view(made, ONE).dns, view(made, TWO).dns) == (Dns(), DNS[1])
    renamed = levels.rename_group(made, "other", "far")
    assert view(renamed, TWO).dns == DNS[1]
    assert renamed.machine("mx2").group == "far"


# --- differences ------------------------------------------------------------------------------------------


def test_a_difference_names_its_level_and_an_empty_override_is_one() -> None:
    after = change.begin(at(at(cluster(), CLUSTER, dns=DNS[0]), TWO, dns=DNS[1]), ONE, "dns")
    told = [(entry.path, entry.kind, entry.new_text) for entry in change.differences(cluster(), after)]
    assert ("dns.timeout", "changed", "1") in told
    assert ('"machine mx2".dns.timeout', "changed", "2") in told
    assert ('"machine mx1".override.dns', "added", "own value") in told


_levels = st.sampled_from([CLUSTER, GROUP, ONE, TWO])
_values = st.sampled_from(
    [
        {"dns": DNS[0]},
        {"dns": DNS[1]},
        {"queue": Queue(max_messages=3)},
        {"ssl": Ssl(inbound=TlsSettings(profile="modern"))},
        {"destinations": (Destination(domain="default"), Destination(domain="b.test", tls="required"))},
        {"destinations": (Destination(domain="b.test", tls="off"),)},
        {"certificates": (Certificate(name="second", certificate=PEM),)},
        {},
    ]
)
_edits = st.lists(st.tuples(_levels, _values), max_size=4)


def _edited(start: Cluster, edits: list[tuple[Level, dict[str, object]]]) -> Cluster:
    for level, values in edits:
        if values:
            start = at(start, level, **values)
        else:
            own = [name for name in start.at(level) if clusterable(name) and certificate_of(name) is None]
            start = change.clear(start, level, own[-1]) if own else change.begin(start, level, "logs")
    return start


@given(_edits, _edits)
def test_differences_that_are_replayed_give_the_other_cluster(
    before: list[tuple[Level, dict[str, object]]], more: list[tuple[Level, dict[str, object]]]
) -> None:
    old = _edited(cluster(), before)
    new = _edited(old, more)
    made = change.replayed(old, change.differences(old, new))
    assert isinstance(made, Cluster)
    for level in new.levels():
        assert view(made, level) == view(new, level)
        assert set(made.at(level)) - {"logs"} <= set(new.at(level))
    assert change.differences(made, new) == []
