"""The judgement of a study, a pure function of its records: paired contrasts, exact tests, verdicts."""

from ._analyse import analyse as analyse
from ._curves import curves as curves
from ._intervals import mean_interval as mean_interval
from ._metrics import METRICS as METRICS
from ._metrics import Metric as Metric
from ._power import seeds_floor as seeds_floor
from ._power import seeds_needed as seeds_needed
from ._power import smallest_detectable as smallest_detectable
from ._results import Analysis as Analysis
from ._results import ArmSummary as ArmSummary
from ._results import Contrast as Contrast
from ._results import Curve as Curve
from ._results import LayerSlopes as LayerSlopes
from ._results import Pairing as Pairing
from ._results import Verdict as Verdict
from ._sentence import sentence as sentence
from ._signflip import sign_flip_p as sign_flip_p
from ._verdict import holm as holm
from ._verdict import verdict as verdict
