"""Trials of a user's own training function: what it is called with, and the record that comes of it.

preflight      import the function, check its parameters, the metrics and the margin      (`_preflight`)
worker         make a context, catch what it prints, call the function                    (`_run`)
function     trial.apply, trial.watch, trial.log, ...; return {metric: value}           (`_context`)
worker         check what it returned, and make a `TrialRecord` of all that was noted     (`_record`)
"""

from slopewise.study._function._context import TrialContext as TrialContext
from slopewise.study._function._preflight import function_metrics as function_metrics
from slopewise.study._function._preflight import function_preflight as function_preflight
from slopewise.study._function._run import run_function as run_function
