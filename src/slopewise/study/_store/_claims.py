"""Claims of trials by the drivers of a store: leases by the store's clock, renewed as long as their driver lives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any

import sqlalchemy as sql

from slopewise.events import TrialKey
from slopewise.study._store._tables import CLAIMS, KEY, RECORDS, clock
from slopewise.study.engines import Claim


@dataclass(frozen=True, slots=True)
class HeldClaim:
    """Claim that holds.

    Attributes:
        trial: Trial.
        owner: Name of the driver: its host, its process, and a random part.
        fence: Number of owners that the claim has had; one that takes over an expired claim has a higher number.
        left: Seconds after which it expires unless it is renewed.
    """

    trial: TrialKey
    owner: str
    fence: int
    left: float


def take(
    insert: Callable[[sql.Table], Any],
    connection: sql.Connection,
    trial: TrialKey,
    owner: str,
    lease: float,
    again: bool,
) -> Claim:
    """Claim a trial that is not stored, if nobody else has a claim that holds.

    The upsert decides between drivers: the database lets one of two wait for the other, and then looks again. Claims of
    stored trials are kept until they expire, so that a driver which looked for the record just before it was stored
    still finds the claim.
    """
    key = {"arm": trial.arm, "seed": trial.seed, "cell": trial.cell}
    same = [RECORDS.c[name] == value for name, value in key.items()]
    stored = sql.select(RECORDS.c.status).where(*same, *([RECORDS.c.status != "failed"] if again else []))
    values = [sql.literal(value, CLAIMS.c[name].type) for name, value in key.items()]
    row = sql.select(*values, sql.literal(owner, sql.Text), sql.literal(1), clock() + lease).where(~stored.exists())
    new = insert(CLAIMS).from_select([*KEY, "owner", "fence", "expires"], row)
    ours = CLAIMS.c.owner == owner
    taken = new.on_conflict_do_update(
        index_elements=KEY,
        set_={
            "owner": new.excluded.owner,
            "fence": CLAIMS.c.fence + sql.case((ours, 0), else_=1),
            "expires": new.excluded.expires,
        },
        where=sql.or_(ours, CLAIMS.c.expires < clock(), *([CLAIMS.c.owner == ""] if again else [])),
    )
    if connection.execute(taken.returning(CLAIMS.c.fence)).first():
        return Claim.OURS
    return Claim.STORED if connection.execute(stored).first() else Claim.THEIRS


def renew(connection: sql.Connection, owner: str, lease: float) -> None:
    """Renew the claims of a driver, expired ones too unless another driver has taken them over."""
    connection.execute(sql.update(CLAIMS).where(CLAIMS.c.owner == owner).values(expires=clock() + lease))


def withdraw(connection: sql.Connection, owner: str) -> None:
    """Give up the claims of a driver."""
    connection.execute(sql.update(CLAIMS).where(CLAIMS.c.owner == owner).values(expires=0.0))


def claims(connection: sql.Connection) -> tuple[HeldClaim, ...]:
    """Return the claims that hold now."""
    columns = [CLAIMS.c[name] for name in (*KEY, "owner", "fence")]
    held = sql.select(*columns, (CLAIMS.c.expires - clock()).label("left")).where(holding())
    rows = connection.execute(held.order_by(*columns))
    return tuple(HeldClaim(TrialKey(row.arm, row.seed, row.cell), row.owner, row.fence, row.left) for row in rows)


def holding() -> sql.ColumnElement[bool]:
    """Return the condition for a claim of a trial that a driver works on."""
    return sql.and_(CLAIMS.c.owner != "", CLAIMS.c.expires >= clock())


class Heartbeat:
    """Thread that renews the claims of a driver, so that they do not expire however long its trials take."""

    def __init__(self, renewal: Callable[[], None], every: float) -> None:
        self._renewal, self._every, self._over = renewal, every, Event()
        self._thread = Thread(target=self._beat, name="slopewise-claims", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._over.wait(self._every):
            self._renewal()
