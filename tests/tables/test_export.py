"""The exported table of a study, judged, gives the contrasts of the study digit for digit."""

from dataclasses import replace

import pytest

from slopewise.analysis import Contrast, analyse
from slopewise.report import EXPORTS
from slopewise.tables import judge
from slopewise.testing import replace_score, synthetic_study

# Only a study knows of environments; a table's metrics have no second definition of a margin.
FIELDS = [name for name in Contrast.__dataclass_fields__ if name not in ("cautions", "title", "digits")]


def uneven(**options):
    return synthetic_study(
        ("relu", "elu", "prelu_shared", "prelu_channel"),
        seeds=9,
        effects={"elu": 0.8, "prelu_shared": -1.0},
        diverged={"prelu_channel": 2, "relu": 1},
        failed={"elu": 1},
        **options,
    )


def absent():
    study = uneven(seed=3)
    return replace(study, trials=tuple(t for t in study.trials if (t.arm, t.seed) != ("prelu_shared", 4)))


def unpaired():
    return replace(uneven(seed=2), paired=False)


def same_arm():
    study = synthetic_study(("relu", "again"), seeds=8)
    twins = {t.seed: t for t in study.trials if t.arm == "relu"}
    return replace(study, trials=tuple(replace(twins[t.seed], arm=t.arm) for t in study.trials))


def hopeless():
    study = synthetic_study(("relu", "elu"), seeds=8)
    return replace(study, trials=tuple(replace_score(t, "test", "accuracy", 0.1) for t in study.trials))


@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize("make", [uneven, absent, unpaired, same_arm, hopeless])
def test_its_contrasts_are_those_of_the_study(make, form, tmp_path):
    study = make()
    EXPORTS[form](study, tmp_path)
    losses = ("test_loss", "train_loss")
    judged = judge(
        tmp_path / f"results.{form}",
        arm="arm",
        seed="seed" if study.paired else None,
        metric=["test_accuracy", *losses],
        better="test_accuracy=higher,test_loss=lower,train_loss=lower",
        control="relu",
        margin=0.5,
        scale=100,
        unit="points",
        images=360,
        floor=0.1,
    ).analysis
    analysis = analyse(study)
    for part in ("primary", "converged"):
        for one, other in zip(getattr(analysis, part), getattr(judged, part), strict=True):
            for field in FIELDS:
                assert getattr(one, field) == getattr(other, field), field
            kinds = [[caution.id for caution in contrast.cautions] for contrast in (one, other)]
            assert kinds[0] == kinds[1]
    train = [contrast for contrast in analysis.secondary if contrast.metric == "train_loss"]
    for one, other in zip(train, (c for c in judged.secondary if c.metric == "train_loss"), strict=True):
        # Not the verdict: a study knows which differences of its losses matter, a table does not say.
        assert (one.differences, one.p_holm, one.interval) == (other.differences, other.p_holm, other.interval)
