"""False verdicts of whole ledgers where there is nothing to any claim."""

from collections import Counter

import numpy as np
import pytest
from scipy import stats
from tests.analysis.claims.records import make

from slopewise.analysis.claims import claims, false_verdicts, ledger

FROM = {"arm": "relu", "take": "weights"}
LEARNED = ["prelu_shared", "prelu_channel"]
ARMS = [
    "relu",
    "frozen_slope",
    *LEARNED,
    {"name": "still", "activation": "prelu_channel", "slope_lr_scale": 0.0}
    | {"start": {"arm": "prelu_channel", "take": "slopes"}},
    {"name": "bounded", "activation": "prelu_channel", "options": {"bounds": [0.0, 1.0]}},
    {"name": "kept", "activation": "relu", "start": FROM},
    {"name": "zero", "activation": "prelu_channel_0", "start": FROM},
    {"name": "quarter", "activation": "prelu_channel", "start": FROM},
]
MAIN = ["relu", *LEARNED]
FACTORS = {"model.options.batch_norm": True, "data.train_size": 200, "train.slope_weight_decay": 0.001}
CELLS = [
    *(("factors", {setting: value}, MAIN, range(10)) for setting, value in FACTORS.items()),
    *(("map", {"train.lr": rate}, ["relu"], range(8)) for rate in (0.1, 1.0)),
    *(
        ("map", {"train.lr": rate, "arm.options.init": init}, LEARNED, range(8))
        for rate in (0.1, 1.0)
        for init in (0.0, 0.25, 0.5)
    ),
]


@pytest.mark.slow
def test_false_verdicts_are_at_most_5_percent_of_each_claim():
    rng = np.random.default_rng(0)

    def figures(arm, settings):  # at the higher rate, half of the trials of every arm diverge
        return {"diverged": settings.get("train.lr", 0) > 0.5 and bool(rng.random() < 0.5)}

    studies, wrong, expected = 250, Counter(), 0.0
    for seed in range(studies):
        entries = ledger(make(ARMS, figures, cells=CELLS, spec={"tune": {"points": 8}}, seed=seed))
        assert all(entry.verdict != "not tested" for entry in entries)
        wrong.update(entry.claim for entry in entries if entry.verdict in ("supported", "contradicted"))
        wrong["in the ledger, corrected"] += any(entry.p_ledger <= 0.05 for entry in entries)
        expected += false_verdicts(entries)
    most = stats.binom.ppf(0.9995, studies, 0.05)  # of 17 rates, each at most 5 %
    assert set(wrong) <= {*(claim.id for claim in claims()), "in the ledger, corrected"}
    assert {name: count for name, count in wrong.items() if count > most} == {}
    assert sum(wrong.values()) - wrong["in the ledger, corrected"] <= expected


def test_most_of_a_small_ledger_without_effects_is_open_or_without_practical_effect():
    entries = ledger(make(ARMS, cells=CELLS, spec={"tune": {"points": 8}}, seeds=14))
    verdicts = Counter(entry.verdict for entry in entries)
    assert verdicts["inconclusive"] + verdicts["no practical effect"] >= len(entries) - 2
