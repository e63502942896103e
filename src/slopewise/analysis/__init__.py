"""Analysis of a study, a pure function of its records: contrasts with the control, exact tests, verdicts."""

from slopewise.analysis._analyse import analyse as analyse
from slopewise.analysis._arms import summarise as summarise
from slopewise.analysis._curves import curves as curves
from slopewise.analysis._intervals import difference_interval as difference_interval
from slopewise.analysis._intervals import mean_interval as mean_interval
from slopewise.analysis._metrics import Metric as Metric
from slopewise.analysis._metrics import metrics_of as metrics_of
from slopewise.analysis._permutation import permutation_p as permutation_p
from slopewise.analysis._power import seeds_floor as seeds_floor
from slopewise.analysis._power import seeds_needed as seeds_needed
from slopewise.analysis._power import smallest_detectable as smallest_detectable
from slopewise.analysis._results import Analysis as Analysis
from slopewise.analysis._results import ArmAlarm as ArmAlarm
from slopewise.analysis._results import ArmSummary as ArmSummary
from slopewise.analysis._results import Caution as Caution
from slopewise.analysis._results import Contrast as Contrast
from slopewise.analysis._results import Curve as Curve
from slopewise.analysis._results import LayerSlopes as LayerSlopes
from slopewise.analysis._results import Pairing as Pairing
from slopewise.analysis._results import Verdict as Verdict
from slopewise.analysis._sentence import sentence as sentence
from slopewise.analysis._sentence import verdict_words as verdict_words
from slopewise.analysis._signflip import sign_flip_p as sign_flip_p
from slopewise.analysis._verdict import holm as holm
from slopewise.analysis._verdict import verdict as verdict
