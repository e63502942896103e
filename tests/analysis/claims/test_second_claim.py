"""A claim of a user, in one file: shared slopes train as stably as ReLU. No other file names it."""

from collections.abc import Iterator, Sequence

import pytest

from slopewise.analysis.claims import (
    Claim,
    Finding,
    Side,
    compare_scores,
    ledger,
    register_claim,
    settle,
    unregister_claim,
)
from slopewise.records import StudyRecord
from slopewise.results import Results
from slopewise.testing import check_claim, synthetic_study


class LeakBeatsZero(Claim):
    """The final score of leaky ReLU against ReLU's."""

    id = "leak-beats-zero"
    number = 100
    statement = "Any leak at all is better than none."
    source = "Maas et al. 2013"
    prediction = "the final score is better than ReLU's"
    design = "a ReLU arm and a leaky one"
    toml = 'arms = ["relu", "leaky_relu"]'
    statistic = "mean paired difference of the final score"
    rule = "Supported if it is shown to be an improvement, contradicted if it is shown to be the opposite."

    def judge(self, study: StudyRecord, /) -> Sequence[Finding]:
        by_activation = {arm.get("activation"): arm["name"] for arm in study.spec.get("arms", ())}
        if not {"relu", "leaky_relu"} <= by_activation.keys():
            return [self.not_tested("score", "leaky arm")]
        leaky, relu = (Side(study, by_activation[name]) for name in ("leaky_relu", "relu"))
        return settle([compare_scores(leaky, relu, part="score")])


@pytest.fixture
def registered() -> Iterator[LeakBeatsZero]:
    yield register_claim(LeakBeatsZero())
    unregister_claim("leak-beats-zero")


def test_it_keeps_the_contract() -> None:
    better, worse = (synthetic_study(("relu", "leaky_relu"), effects={"leaky_relu": size}) for size in (2.0, -2.0))
    check_claim(LeakBeatsZero(), better, worse)


def test_the_ledger_has_it(registered: LeakBeatsZero) -> None:
    study = synthetic_study(("relu", "leaky_relu"), effects={"leaky_relu": 2.0})
    entry = ledger(study)[-1]
    assert (entry.claim, entry.verdict, entry.statement) == (registered.id, "supported", registered.statement)
    assert Results(study).claims()[-1] == entry
