"""Claims about PReLU, with their sources and decision rules, and the ledger: the verdict of a study on each claim."""

from slopewise.analysis.claims._base import OUTCOMES as OUTCOMES
from slopewise.analysis.claims._base import Claim as Claim
from slopewise.analysis.claims._base import Finding as Finding
from slopewise.analysis.claims._base import Outcome as Outcome
from slopewise.analysis.claims._base import TrialKey as TrialKey
from slopewise.analysis.claims._ledger import Evidence as Evidence
from slopewise.analysis.claims._ledger import evidence as evidence
from slopewise.analysis.claims._ledger import false_verdicts as false_verdicts
from slopewise.analysis.claims._ledger import ledger as ledger
from slopewise.analysis.claims._paired import Side as Side
from slopewise.analysis.claims._paired import compare as compare
from slopewise.analysis.claims._paired import compare_scores as compare_scores
from slopewise.analysis.claims._registry import check_declaration as check_declaration
from slopewise.analysis.claims._registry import claim_of as claim_of
from slopewise.analysis.claims._registry import claims as claims
from slopewise.analysis.claims._registry import register_claim as register_claim
from slopewise.analysis.claims._registry import unregister_claim as unregister_claim
from slopewise.analysis.claims._settle import Measured as Measured
from slopewise.analysis.claims._settle import combined as combined
from slopewise.analysis.claims._settle import settle as settle
