"""The contract of claims: a sentence about PReLU, the design that tests it, and a decision rule fixed beforehand.

A claim is a subclass of `Claim`. Its class attributes state in words what is claimed, by whom, what it predicts, which
design tests it, and how it is decided. `judge` reads the records of one study and returns `Finding`s: one for each
part of the claim and each arm that the part is tested on. It identifies arms by their description in
`study.spec["arms"]` (`_arms.py`), never by name. It reads nothing but the records and draws no random numbers.

`judge` never raises, even if the study is unfinished, was recorded by an earlier version, or is an imported table. A
part is "not tested" if the study lacks the design, and its finding then has the table of the spec that adds it. A part
without enough trials is "inconclusive".

Most claims only measure (`_paired.py`, `_values.py`) and leave the verdict to `settle` (`_settle.py`), which corrects
for the number of comparisons within the claim. Modules in the folder `textbook` are discovered automatically; other
claims are added with `register_claim`. `slopewise.testing.check_claim` checks that a claim keeps this contract.
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
            practical effect" if the interval lies within `band`; else "inconclusive". "not tested" if the study lacks
            the design.
        reason: Sentence with the numbers, without a full stop.
        counts: True if the claim's verdict rests on the finding; False if the finding is only reported beside it.
        arms: Arms that are compared; the first is the arm that the claim is about.
        estimate: Measured figure, in `unit`; None if nothing was measured.
        null: Value of the figure under the null hypothesis: 0 for a difference, 1 for a ratio.
        unit: Unit of the figure, the interval and the band.
        digits: Number of decimals worth printing.
        interval: 95 % confidence interval of the figure.
        band: Lowest and highest value of the figure without practical effect.
        negligible: True if the interval lies within the band and there are enough values to conclude so. Possible
            together with "supported" and "contradicted".
        n: Number of values that the figure is the mean of: usually one value per seed.
        basis: `n` in words, such as "10 seeds".
        p: Two-sided exact p value.
        p_holm: p value after Holm's correction over the comparisons of the claim; equal to `p` where `counts` is False.
        level: Largest probability of any false "supported" or "contradicted" among the claim's comparisons.
        would_decide: Noun phrase with the data or design that would decide the comparison; empty if it is decided.
        toml: Lines of a spec that add the missing design; empty if no design is missing.
        trials: Trials behind the figure.
        measure: Figure of each of these trials that the finding compares, with its unit: "steps to target, steps".
            Empty if the finding rests on something else, such as a rate.
        values: This figure, one for each of `trials`; empty without a measure.
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
    measure: str = ""
    values: tuple[float, ...] = ()
    cautions: tuple[str, ...] = ()


class Claim(ABC):
    """Base of claims.

    Attributes:
        id: Name of the claim: lower-case words and digits with hyphens between them.
        number: Position in the ledger; by default after all claims of slopewise.
        statement: The claim in a practitioner's words, as one sentence.
        source: Publication, or common advice, that makes the claim.
        prediction: Outcome that the claim predicts, in terms of the figure.
        design: Noun phrase that names the arms or settings a study needs to test the claim.
        toml: Lines of a spec that add this design.
        statistic: Definition of the figure, its interval and its p value.
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
            study: Records of the study, finished or not.
        """

    def not_tested(self, part: str, reason: str, *, counts: bool = True) -> Finding:
        """Return the finding of a part whose design the study lacks.

        Args:
            part: Name of the part.
            reason: Noun phrase that names the missing design, to follow "the study has no".
            counts: False for a part that is only reported beside the claim.
        """
        return Finding(
            part,
            "not tested",
            f"the study has no {reason}",
            counts=counts,
            would_decide=f"a study with {self.design}",
            toml=self.toml,
        )
