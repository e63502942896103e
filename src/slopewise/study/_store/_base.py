"""Contract of a store: what a driver writes, in terms of transactions that each kind of store carries out.

A trial is stored once. Its first finished record counts, whichever driver it comes from; a later one is compared with
it and counted as a repeat. So a commit whose acknowledgement was lost can be repeated without harm, and so can a trial.
Several drivers of one store divide its trials among them by claims, which expire unless they are renewed.
"""

from __future__ import annotations

import os
import socket
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any, ClassVar, TypeAlias, TypeVar

import sqlalchemy as sql

from slopewise.errors import StoreError
from slopewise.events import TrialKey
from slopewise.records import RepeatRecord, StudyRecord, TrialRecord, untimed
from slopewise.study._spec import StudySpec
from slopewise.study._store._claims import Heartbeat, HeldClaim, claims, renew, take, withdraw
from slopewise.study._store._packed import COLUMNS, encode, pack, seal
from slopewise.study._store._place import Place, place_of
from slopewise.study._store._rows import trial_in
from slopewise.study._store._stored_plan import StoredPlan
from slopewise.study._store._tables import CLAIMS, ENVIRONMENTS, KEY, RECORDS, REPEATS, STUDY
from slopewise.study.engines import Claim

_T = TypeVar("_T")
Work: TypeAlias = Callable[[sql.Connection], _T]
PlanOf: TypeAlias = Callable[[StudySpec], StoredPlan]
LEASE = 100.0  # seconds that a claim holds without being renewed


class Store(ABC):
    """Store of a study, open for writing; `Store.create` creates it or opens an existing one.

    Attributes:
        shared: True if several drivers can use the store at once, so that they have to claim trials.
    """

    shared: ClassVar[bool]

    def __init__(self, engine: sql.Engine, lease: float = LEASE) -> None:
        self._engine = engine
        self._owner = f"{socket.gethostname()} {os.getpid()} {uuid.uuid4().hex}"
        self._lease = lease
        self._environments: set[str] = set()  # digests of those that this driver has written
        self._heartbeat: Heartbeat | None = None

    @staticmethod
    def open(place: str | os.PathLike[str] | Place) -> Store:
        """Return the store of a study that exists, without a change to it."""
        return _kind(place_of(place)).opened(place_of(place))

    @staticmethod
    def create(
        place: str | os.PathLike[str] | Place,
        spec: StudySpec,
        data: dict[str, Any],
        plan: PlanOf | None = None,
        *,
        lease: float = LEASE,
    ) -> Store:
        """Return the store of a run: a new one, or the existing one of the same study, which may gain arms and seeds.

        In a store that several drivers share, a spec may also lack arms: the stored spec keeps them.

        Args:
            place: Folder of the study, URL of its database, or both as a `Place`.
            spec: Spec of the study.
            data: Facts of the data.
            plan: Function that returns the plan of the stored spec; None stands for its arms and seeds without cells.
            lease: Seconds that a claim holds without being renewed.

        Raises:
            StoreError: The store cannot be written, or holds a different study; the message shows the differences.

        Warns:
            StoreWarning: The store was damaged, or cannot be used for a while.
        """
        return _kind(place_of(place)).begun(place_of(place), spec, data, plan or _plain_plan, lease=lease)

    @staticmethod
    def discard(place: str | os.PathLike[str] | Place) -> str | None:
        """Take the store of a study that a fault has stopped out of the way of another one.

        Returns:
            Place in which it is kept, since it holds trials; None if it held none and is removed.
        """
        return _kind(place_of(place)).discarded(place_of(place))

    @classmethod
    @abstractmethod
    def opened(cls, place: Place) -> Store:
        """Return the store in a place, without a change to it."""

    @classmethod
    @abstractmethod
    def begun(cls, place: Place, spec: StudySpec, data: dict[str, Any], plan: PlanOf, *, lease: float) -> Store:
        """Return the store in a place, created or extended as `create` says."""

    @classmethod
    @abstractmethod
    def discarded(cls, place: Place) -> str | None:
        """Take the store out of the way, as `discard` says."""

    @abstractmethod
    def read(self) -> StudyRecord:
        """Return the study so far; waits while the store cannot be used for a while."""

    @abstractmethod
    def _write(self, work: Work[_T]) -> _T:
        """Do work in one transaction, repeated as a whole while the store cannot be used for a while."""

    @abstractmethod
    def _attempt(self, work: Work[_T]) -> _T:
        """Do work in one transaction, once.

        Raises:
            StoreError: The store cannot be used, for a while or for good.
        """

    @staticmethod
    @abstractmethod
    def _insert(table: sql.Table) -> Any:
        """Return an INSERT of the store's dialect, which can resolve conflicts."""

    def add(self, trial: TrialRecord, environment: dict[str, Any] | None) -> None:
        """Write one trial in one transaction; it replaces a failed one of the same arm, seed and cell.

        If a finished record of the trial is stored, that one stays, and a second finished one is counted as a repeat.

        Raises:
            StoreError: The trial cannot be written, for instance because the disk is full.

        Warns:
            StoreWarning: The store cannot be used for a while.
        """
        row = pack(trial)
        digest = trial.environment if environment and trial.environment not in self._environments else None

        def work(connection: sql.Connection) -> None:
            insert = self._insert(RECORDS).values(row)
            anew = {name: insert.excluded[name] for name in (*COLUMNS, "cell", "stored")}
            failed = insert.on_conflict_do_update(index_elements=KEY, set_=anew, where=RECORDS.c.status == "failed")
            if connection.execute(failed.returning(RECORDS.c.id)).first() is None and trial.status == "finished":
                self._compare(connection, trial, row)
            if digest and environment:
                self.add_environment(connection, digest, environment)
            connection.execute(sql.update(CLAIMS).where(*_same(CLAIMS, row)).values(owner=""))

        self._write(work)
        if digest:
            self._environments.add(digest)

    def _compare(self, connection: sql.Connection, trial: TrialRecord, row: Mapping[str, Any]) -> None:
        """Count a second finished record of a trial, unless it is the first one itself, or the first one is damaged."""
        found = connection.execute(sql.select(*(RECORDS.c[name] for name in COLUMNS)).where(*_same(RECORDS, row))).one()
        first = trial_in([value.encode() if isinstance(value, str) else value for value in found])
        if first is None:
            connection.execute(sql.update(RECORDS).where(*_same(RECORDS, row)).values(row))
        if first is None or found.sha256 == row["sha256"]:
            return
        equal = pack(untimed(first)) == pack(untimed(trial))
        same = first.identity is not None and first.identity == trial.identity
        self.add_repeat(connection, RepeatRecord(trial.arm, trial.seed, trial.cell, equal, same), row["sha256"])

    def add_repeat(self, connection: sql.Connection, repeat: RepeatRecord, record: str) -> None:
        """Write a repeat, unless it is stored already.

        Args:
            connection: Connection in a transaction.
            repeat: Repeat.
            record: Digest that tells one second record of a trial from another.
        """
        fields = {name: getattr(repeat, name) for name in KEY} | {"record": record}
        fields |= {"equal": int(repeat.equal), "same_identity": int(repeat.same_identity)}
        insert = self._insert(REPEATS).values(**fields, sha256=seal(*map(str, fields.values())))
        connection.execute(insert.on_conflict_do_nothing())

    def add_environment(self, connection: sql.Connection, digest: str, facts: Mapping[str, Any]) -> None:
        """Write the facts of an environment; rows with the same digest hold the same facts, or were lost."""
        text = encode(facts)
        insert = self._insert(ENVIRONMENTS).values(digest=digest, sha256=seal(digest, text), facts=text)
        anew = {name: insert.excluded[name] for name in ("sha256", "facts")}
        connection.execute(insert.on_conflict_do_update(index_elements=["digest"], set_=anew))

    def set_plan(self, plan: StoredPlan) -> None:
        """Replace the stored plan."""

        def work(connection: sql.Connection) -> None:
            spec, data = connection.execute(sql.select(STUDY.c.spec, STUDY.c.data).with_for_update()).one()
            text = encode(asdict(plan))
            connection.execute(sql.update(STUDY).values(plan=text, sha256=seal(spec, data, text)))

        self._write(work)

    def claim(self, trial: TrialKey, *, again: bool = False) -> Claim:
        """Claim a trial for this driver, in whose name claims are renewed until `close`.

        Args:
            trial: Trial that the driver is about to run.
            again: True if a failed record of the trial does not count, because failed trials are run again.

        Returns:
            `Claim.OURS`, `Claim.THEIRS` while another driver has the trial, or `Claim.STORED`.
        """
        self._heartbeat = self._heartbeat or Heartbeat(self._renewal, self._lease / 10)
        return self._write(lambda connection: take(self._insert, connection, trial, self._owner, self._lease, again))

    def claims(self) -> tuple[HeldClaim, ...]:
        """Return the claims that hold now, of all drivers."""
        return self._write(claims)

    def freeze(self) -> None:
        """Renew claims no longer, as if this driver were stopped; for tests of what others do then."""
        if self._heartbeat:
            self._heartbeat.stop()

    def renew(self, connection: sql.Connection) -> None:
        """Renew the claims of this driver that no other driver has taken over."""
        renew(connection, self._owner, self._lease)

    def close(self) -> None:
        """Withdraw the claims of this driver, and close the store. Claims that cannot be withdrawn now will expire."""
        if self._heartbeat:
            self._heartbeat.stop()
            with suppress(StoreError):
                self._attempt(lambda connection: withdraw(connection, self._owner))
        self._engine.dispose()

    def _renewal(self) -> None:
        """Renew the claims of this driver, in the heartbeat's thread."""
        with suppress(StoreError):  # the next renewal is in time, too; an error that stays meets the driver itself
            self._attempt(self.renew)


def study_texts(spec: Mapping[str, Any], data: Mapping[str, Any], plan: StoredPlan) -> dict[str, str]:
    """Return the columns of the study's row but its id."""
    texts = {"spec": encode(spec), "data": encode(data), "plan": encode(asdict(plan))}
    return {"sha256": seal(*texts.values()), **texts}


def _same(table: sql.Table, row: Mapping[str, Any]) -> list[sql.ColumnElement[bool]]:
    return [table.c[name] == row[name] for name in KEY]


def _plain_plan(spec: StudySpec) -> StoredPlan:
    return StoredPlan.of_spec(spec.plain())


def _kind(place: Place) -> type[Store]:
    if place.url:
        from slopewise.study._store._postgres_store import PostgresStore

        return PostgresStore
    from slopewise.study._store._sqlite_store import SqliteStore

    return SqliteStore
