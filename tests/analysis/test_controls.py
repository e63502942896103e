"""Controls: arms that go on from trained weights are compared with the control's own continuation."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from slopewise.analysis import analyse, seeds_of_arms
from slopewise.records import StudyRecord
from slopewise.report import paper_paragraph, summary_text
from slopewise.testing import synthetic_study

START = {"arm": "relu", "take": "weights"}
ON = [{"name": f"{name}_on", "activation": name, "start": START} for name in ("relu", "elu")]


def continued(*arms: Any, **options: Any) -> StudyRecord:
    """Return a study whose continued trials have initial weights of their own."""
    study = synthetic_study(("relu", "elu", *(arms or ON)), **options)
    trials = (replace(t, init_digest=f"trained {t.seed}") if t.arm.endswith("_on") else t for t in study.trials)
    return replace(study, trials=tuple(trials))


def scores(study: StudyRecord, arm: str) -> np.ndarray:
    return np.array([100 * (t.score("test", "accuracy") or 0.0) for t in study.trials if t.arm == arm])


def test_each_arm_has_the_control_that_started_as_it_did() -> None:
    study = continued(effects={"elu_on": 0.6})
    contrasts = analyse(study).primary
    assert [(c.arm, c.control, c.paired, c.tests) for c in contrasts] == [
        ("elu", "relu", True, 2),
        ("elu_on", "relu_on", True, 2),
    ]
    differences = scores(study, "elu_on") - scores(study, "relu_on")
    np.testing.assert_allclose(contrasts[1].differences, differences)
    reference = stats.permutation_test(
        (differences, np.zeros_like(differences)),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        n_resamples=np.inf,
        vectorized=True,
    )
    assert contrasts[1].p == pytest.approx(reference.pvalue)


@pytest.mark.parametrize(
    "change",
    [{"start": {"arm": "elu", "take": "weights"}}, {"epochs": 3}, {"activation": "gelu"}, {"options": {"a": 1}}],
)
def test_another_continuation_is_no_control(change: dict[str, object]) -> None:
    study = continued({**ON[0], **change}, ON[1])
    assert study.controls == ("relu",)
    last = analyse(study).primary[-1]
    assert (last.arm, last.control, last.paired, last.tests) == ("elu_on", "relu", False, 3)


def test_slopes_taken_from_another_arm_leave_the_control_as_it_is() -> None:
    taken = {"name": "elu_on", "activation": "elu", "start": {"arm": "relu", "take": "slopes"}}
    assert continued(ON[0], taken).control_of("elu_on") == "relu"


def test_a_control_gets_as_many_seeds_as_the_arms_compared_with_it() -> None:
    study = continued(looks=(10, 16, 40), effects={"elu_on": 3.0})
    early = replace(study, trials=tuple(trial for trial in study.trials if trial.seed < 16))
    assert seeds_of_arms(early, analyse(early).primary) == {"relu": 40, "elu": 40, "relu_on": 16, "elu_on": 16}


def test_views_name_the_control_of_each_arm() -> None:
    study = continued(effects={"elu_on": 3.0})
    assert "against relu_on" in summary_text(study).split("\n- ")[0]
    assert paper_paragraph(study).startswith("We compared elu with relu, and elu_on with relu_on on ")
