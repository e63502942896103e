"""The contract of claims: a sentence about PReLU, the design that tests it, and a decision rule fixed beforehand.

A claim is a class over `Claim`. Its class attributes say in words what is claimed, by whom, what it predicts, what a
study needs to test it, and how it is decided. `judge` looks at the records of one study and returns `Finding`s: one for
each part of the claim and each arm that it is tested on. It finds arms by what they are in `study.spec["arms"]`
(`_arms.py`), never by their names. It reads nothing but the records, and draws no random numbers.

A study may be unfinished, of an earlier version, or a table: `judge` never raises an error. A part whose design the
study lacks is "not tested" and names the table of the spec that would test it; a part without enough trials is
"inconclusive".

Most claims measure (`_paired.py`, `_differences.py`, `_rates.py`) and leave the verdict to `settle` (`_settle.py`),
which corrects for the number of comparisons within the claim. A module in the folder `textbook` is found by itself;
claims from elsewhere are added by `register_claim`. `slopewise.testing.check_claim` tells whether a claim keeps this
contract.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from slopewise.analysis._verdict import ALPHA
from slopewise.records import StudyRecord

Outcome = Literal["supported", "contradicted", "no practical effect", "inconclusive", "not tested"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


@dataclass(frozen=True, slots=True)
class TrialKey:
    """Trial behind a finding: its arm, its seed, and the key of its cell ("" for the study's own settings)."""

    arm: str
    seed: int
    cell: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """Outcome of one comparison: one part of a claim, tested on one arm or one pair of arms.

    Attributes:
        part: Name of the part of the claim, such as "never-positive units".
        verdict: "supported" or "contradicted" if the interval excludes `null` and `p_holm` is at most `level`; else "no
            practical effect" if the interval lies within `band`; else "inconclusive". "not tested" without the design.
        reason: Sentence with the numbers, without a full stop.
        counts: True if the claim's verdict rests on the finding; False for one that is only told beside it.
        arms: Arms that are compared, first the one that the claim is about.
        estimate: Figure, in `unit`; None if nothing was measured.
        null: Value of the figure if the claim has nothing to it: 0 for a difference, 1 for a ratio.
        unit: Unit of the figure, the interval and the band.
        digits: Number of decimals worth printing.
        interval: 95 % confidence interval of the figure.
        band: Values that make no practical difference.
        negligible: True if the interval lies within the band, and there are enough values to conclude that. Possible
            together with "supported" and "contradicted".
        n: Number of values that the figure is a mean of, most often of seeds.
        basis: The number in words.
        p: Two-sided exact p value.
        p_holm: p value after Holm's correction over the comparisons of the claim; equal to `p` where `counts` is False.
        level: Level of the claim: the chance of any false "supported" or "contradicted" among its comparisons.
        would_decide: Sentence that says what would decide it; empty if it is decided.
        toml: Lines of a spec that would bring the missing design; empty if none is missing.
        trials: Trials behind the figure.
        cautions: Reasons not to trust the verdict as it stands.
    """

    part: str
    verdict: Outcome
    reason: str
    counts: bool = True
    arms: tuple[str, ...] = ()
    estimate: float | None = None
    null: float = 0.0
    unit: str = ""
    digits: int = 2
    interval: tuple[float, float] | None = None
    band: tuple[float, float] | None = None
    negligible: bool = False
    n: int = 0
    basis: str = ""
    p: float | None = None
    p_holm: float | None = None
    level: float = ALPHA
    would_decide: str = ""
    toml: str = ""
    trials: tuple[TrialKey, ...] = ()
    cautions: tuple[str, ...] = ()


class Claim(ABC):
    """Base of claims.

    Attributes:
        id: Name of the claim: lower-case words and digits with hyphens between them.
        number: Place in the ledger; claims of other packages come last.
        statement: The claim in a practitioner's words, as one sentence.
        source: Publication or wording that it comes from.
        prediction: Outcome that it predicts, in terms of the figure.
        design: Noun phrase that says what a study needs to test it.
        toml: Lines of a spec that bring that design.
        statistic: Figure, and how its interval and p value are found.
        rule: Decision rule: when the claim is supported, contradicted, or without practical effect.
    """

    id: ClassVar[str]
    number: ClassVar[int] = 1000
    statement: ClassVar[str]
    source: ClassVar[str]
    prediction: ClassVar[str]
    design: ClassVar[str]
    toml: ClassVar[str]
    statistic: ClassVar[str]
    rule: ClassVar[str]

    @abstractmethod
    def judge(self, study: StudyRecord, /) -> Sequence[Finding]:
        """Return the findings of a study: at least one that counts, whatever the study lacks.

        Args:
            study: Records so far.
        """

    def not_tested(self, part: str, reason: str, *, counts: bool = True) -> Finding:
        """Return the finding of a part whose design the study lacks.

        Args:
            part: Name of the part.
            reason: Noun phrase that says what the study lacks.
            counts: False for a part that is only told beside the claim.
        """
        return Finding(
            part,
            "not tested",
            f"the study has no {reason}",
            counts=counts,
            would_decide=f"a study with {self.design}",
            toml=self.toml,
        )
