"""The lease on a table in an object store: one holder, told to all, taken over only behind a fence."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from lance import dataset as open_dataset
from lance import write_dataset

from pinembed.errors import LeaseLostError, StoreError, TableError, TableLockedError
from pinembed.stores import lease as lease_module
from pinembed.stores.address import Address
from pinembed.stores.lease import EXPIRES_S, TRUSTED_S, Lease, LeaseCard, holder_of_lease, store_age_s
from pinembed.stores.objects import Mark, put_object, read_object, remove_object
from pinembed.stores.options import use_storage_options
from pinembed.table.address import TableAddress, parse_address
from pinembed.table.embedding_table import writing
from pinembed.table.lock import fence, lease_place, run_lock, table_lease
from tests.object_store import BUCKET, OPEN, S3Server
from tests.store_fronts import FRONTS


@dataclasses.dataclass
class Time:
    """Clocks that a test sets: of this machine, and the age of the lease's object."""

    now_s: float = 1000.0
    age_s: float = 0.0

    def lease(self, place: Address) -> Lease:
        return Lease(place, age_s=lambda _: self.age_s, clock_s=lambda: self.now_s)


@pytest.fixture
def table(at_s3: S3Server, request: pytest.FixtureRequest) -> TableAddress:
    """Of a table of the test's own, which does not exist yet."""
    return parse_address(f"s3://{BUCKET}/{request.node.name[:60].replace('[', '-').replace(']', '')}/pins")


@pytest.fixture
def place(table: TableAddress) -> Address:
    return lease_place(table)


def card(place: Address) -> LeaseCard:
    return LeaseCard.from_bytes(read_object(place)[0])


def test_second_run_is_told_who_holds_the_table(table: TableAddress, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/usr/bin/pinembed", "encode", "--storage-option", "aws_secret_access_key=s"])
    with run_lock(table):
        told = r"process \d+ on .* since 20.*\(pinembed encode\)"
        with pytest.raises(TableLockedError, match=told) as raised, run_lock(table):
            pass
        assert "90 s" in raised.value.remedy
        assert b"secret" not in read_object(lease_place(table))[0]
        assert holder_of_lease(lease_place(table)) == card(lease_place(table))
    assert holder_of_lease(lease_place(table)) is None
    with run_lock(table):  # what was given back is free at once
        pass


def test_lease_is_renewed_with_another_etag_each_time(place: Address) -> None:
    time = Time()
    lease = time.lease(place)
    assert lease.take() is None
    e_tags = {read_object(place)[1].e_tag}
    for renewal in (1, 2):
        time.now_s += TRUSTED_S - 1
        lease.renew()
        e_tags.add(read_object(place)[1].e_tag)
        assert lease.trouble() == ""
        assert card(place).renewals == renewal
    assert len(e_tags) == 3


@pytest.mark.parametrize("scheme", FRONTS)
def test_lease_in_other_stores_is_renewed_and_given_back(at_s3: S3Server, scheme: str) -> None:
    with FRONTS[scheme](at_s3.endpoint) as options:
        use_storage_options(options)
        place = Address(scheme, OPEN, f"lease-{scheme}/one")
        first, second = Lease(place), Lease(place)
        assert first.take() is None
        first.renew()
        first.renew()

        holder = second.take()
        first.give_back()

        assert first.trouble() == ""
        assert holder is not None
        assert holder.renewals == 2
        assert second.take() is None


@pytest.mark.parametrize("scheme", FRONTS)
def test_lease_in_other_stores_wants_conditions_to_hold(at_s3: S3Server, scheme: str) -> None:
    with FRONTS[scheme](at_s3.endpoint, ignores_conditions=True) as options:
        use_storage_options(options)
        with pytest.raises(StoreError, match="although the condition of the request does not hold"):
            Lease(Address(scheme, OPEN, f"lease-{scheme}/two")).take()


def test_lease_that_is_young_is_not_taken_over(place: Address) -> None:
    time = Time(age_s=EXPIRES_S - 1)
    holder = time.lease(place)
    assert holder.take() is None
    second = time.lease(place)
    assert second.take() == card(place)
    assert not second.is_taken_over


def test_lease_that_ran_out_is_taken_over_and_its_holder_told(place: Address) -> None:
    time = Time()
    first, second = time.lease(place), time.lease(place)
    assert first.take() is None
    time.age_s = EXPIRES_S + 1
    assert second.take() is None
    assert second.is_taken_over

    first.renew()

    assert first.trouble() == f"it was taken over by {card(place)}"
    first.give_back()  # which is not its own any more
    assert not card(place).is_free
    second.give_back()
    assert card(place).is_free
    third = time.lease(place)
    assert third.take() is None
    assert not third.is_taken_over


def test_holder_that_was_stopped_writes_nothing_before_it_has_renewed(table: TableAddress, place: Address) -> None:
    time = Time()
    lease = time.lease(place)
    with table_lease(table, lease):
        with writing(table):
            pass
        time.now_s += EXPIRES_S  # the process was stopped, and its thread with it
        for address in (table, table.runs, table.failures):
            with pytest.raises(LeaseLostError, match=r"could not be renewed for 90 s"), writing(address):
                pass
        with writing(parse_address(f"s3://{BUCKET}/other/table")):  # another table is no concern of it
            pass
        lease.renew()
        with writing(table):
            pass


def test_renewal_whose_answer_was_lost_is_known_as_our_own(place: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    time = Time()
    lease = time.lease(place)
    assert lease.take() is None
    real = lease_module.replace_object

    def written_but_refused(address: Address, content: bytes, mark: Mark) -> Mark | None:
        real(address, content, mark)
        return None  # a retry inside of the client found the ETag of its first try

    monkeypatch.setattr(lease_module, "replace_object", written_but_refused)
    time.now_s += TRUSTED_S - 1
    lease.renew()
    monkeypatch.undo()
    time.now_s += TRUSTED_S - 1
    lease.renew()
    assert lease.trouble() == ""
    assert card(place).renewals == 2


def test_store_that_is_away_costs_the_lease_only_after_its_time(
    place: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = Time()
    lease = time.lease(place)
    assert lease.take() is None

    def away(*_: object) -> None:
        raise StoreError("away", remedy="wait")

    monkeypatch.setattr(lease_module, "replace_object", away)
    time.now_s += TRUSTED_S - 1
    lease.renew()
    assert lease.trouble() == ""
    time.now_s += 1
    lease.renew()
    assert "could not be renewed for 70 s" in lease.trouble()


def test_holder_whose_object_is_gone_is_told(place: Address) -> None:
    lease = Time().lease(place)
    assert lease.take() is None
    remove_object(place)
    lease.renew()
    assert "nobody, its object is gone" in lease.trouble()


def test_object_that_is_no_lease_has_to_run_out_too(place: Address) -> None:
    put_object(place, b"not json")
    time = Time()
    holder = time.lease(place).take()
    assert holder is not None
    assert holder.host == "an unknown host"
    time.age_s = EXPIRES_S
    assert time.lease(place).take() is None


def test_age_is_told_by_the_clock_of_the_store(place: Address) -> None:
    put_object(place, b"{}")
    assert 0 <= store_age_s(place) < 5


@pytest.mark.parametrize("ignored", ["create_object", "replace_object"])
def test_store_that_ignores_conditions_is_refused(
    place: Address, ignored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_module, ignored, lambda address, content, *_: put_object(address, content))
    with pytest.raises(StoreError, match="although the condition of the request does not hold") as raised:
        Time().lease(place).take()
    assert "conditional PUT" in raised.value.remedy


ROWS = pa.table({"id": pa.array(["a", "b"], pa.string()), "n": pa.array([1, 2])})


@pytest.fixture(params=["folder", "store"])
def dataset_address(request: pytest.FixtureRequest, tmp_path: Path) -> TableAddress:
    """Of a small Lance dataset on this machine, and in a store."""
    if request.param == "store":
        request.getfixturevalue("at_s3")
        address = parse_address(f"s3://{BUCKET}/{tmp_path.name}/pins")
    else:
        address = parse_address(f"{tmp_path}/pins")
    write_dataset(ROWS, address.uri, storage_options=address.storage_options)
    return address


def planned(address: TableAddress, kind: str) -> Callable[[], object]:
    """A write that was planned on the present version and is committed when it is called."""
    stale = open_dataset(address.uri, storage_options=address.storage_options)
    more = pa.table({"id": pa.array(["c"], pa.string()), "n": pa.array([3])})
    changed = pa.table({"id": pa.array(["a"], pa.string()), "n": pa.array([9])})
    merge = stale.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
    return {
        "insert": lambda: stale.insert(more),
        "merge": lambda: merge.execute(changed),
        "delete": lambda: stale.delete("id = 'a'"),
        "overwrite": lambda: write_dataset(more, stale, mode="overwrite"),
    }[kind]


@pytest.mark.parametrize("kind", ["insert", "merge", "delete"])
def test_fence_makes_what_was_planned_before_it_fail(dataset_address: TableAddress, kind: str) -> None:
    commit = planned(dataset_address, kind)
    fence(dataset_address)
    with pytest.raises(TableError, match="cannot be written"), writing(dataset_address):
        commit()
    held = open_dataset(dataset_address.uri, storage_options=dataset_address.storage_options)
    assert held.to_table().sort_by("id").equals(ROWS)
    held.insert(ROWS.slice(0, 1))  # who comes after the fence writes
    assert held.count_rows() == 3


def test_run_that_takes_over_puts_the_fence_before_it_writes(table: TableAddress, place: Address) -> None:
    for address in (table, table.runs):
        write_dataset(ROWS, address.uri, storage_options=address.storage_options)
    stale = [planned(address, "insert") for address in (table, table.runs)]
    time = Time(age_s=EXPIRES_S)
    assert time.lease(place).take() is None  # and its process is killed

    with table_lease(table, time.lease(place)):
        for address, commit in zip((table, table.runs), stale, strict=True):
            with pytest.raises(TableError), writing(address):
                commit()

    for address in (table, table.runs):
        assert open_dataset(address.uri, storage_options=address.storage_options).count_rows() == 2


def test_card_tells_no_option_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/usr/bin/pinembed", "--token=x"])
    assert LeaseCard.of_this_process().command == "pinembed"
    monkeypatch.setattr("sys.argv", ["/home/me/nightly.py", "secret"])
    assert LeaseCard.of_this_process().command == "nightly.py"
    assert json.loads(LeaseCard.of_this_process().to_bytes())["is_free"] is False
