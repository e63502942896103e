"""Records of a study: immutable plain data exchanged between trial, store, analysis and report.

A record holds only Python numbers and strings (no tensors), so that it can be pickled to the driver, written to
SQLite, exported, and analysed without torch. Fractions are in 0..1, losses in nats, times in seconds. A value that
does not exist (the slope of a ReLU, the test accuracy of a trial that diverged) is None, never NaN.
"""

from slopewise.records._parts import AlarmRecord as AlarmRecord
from slopewise.records._parts import EpochRecord as EpochRecord
from slopewise.records._parts import GradientRecord as GradientRecord
from slopewise.records._parts import LayerScoreRecord as LayerScoreRecord
from slopewise.records._parts import OperatorCostRecord as OperatorCostRecord
from slopewise.records._parts import SiteRecord as SiteRecord
from slopewise.records._repeat import RepeatRecord as RepeatRecord
from slopewise.records._repeat import untimed as untimed
from slopewise.records._scores import MetricRecord as MetricRecord
from slopewise.records._scores import Part as Part
from slopewise.records._scores import ScoreRecord as ScoreRecord
from slopewise.records._scores import amount as amount
from slopewise.records._scores import class_metric as class_metric
from slopewise.records._scores import class_of as class_of
from slopewise.records._scores import classification_metrics as classification_metrics
from slopewise.records._scores import metrics_in as metrics_in
from slopewise.records._scores import value_unit as value_unit
from slopewise.records._study import UNNAMED as UNNAMED
from slopewise.records._study import ArmCounts as ArmCounts
from slopewise.records._study import CellRecord as CellRecord
from slopewise.records._study import Role as Role
from slopewise.records._study import StudyCounts as StudyCounts
from slopewise.records._study import StudyRecord as StudyRecord
from slopewise.records._study import control_among as control_among
from slopewise.records._trial import TRIAL_PARTS as TRIAL_PARTS
from slopewise.records._trial import TRIAL_SLOTS as TRIAL_SLOTS
from slopewise.records._trial import Status as Status
from slopewise.records._trial import TrialRecord as TrialRecord
