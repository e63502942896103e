"""One trial: train one arm from one seed, measure it after every epoch, score it once on the test set.

`_fabric` is the device, `_ranks` starts the processes of a trial on several devices, `_setup` builds what a trial
needs, `_sharding` shards its network over devices, `_donor` trains the arm that it starts from, `_loop` trains and
evaluates, `_guard` ends a trial whose loss is not finite, `_recorder` turns what was measured into a `TrialRecord`,
and `_run` puts them together.

Randomness comes in separate seeded streams: initial weights, validation split, data order, augmentation, and draws
in the forward pass (dropout, RReLU). The first four are the same in every arm of a seed.
"""

from slopewise.study._trial._fabric import make_fabric as make_fabric
from slopewise.study._trial._run import OnEpoch as OnEpoch
from slopewise.study._trial._run import run_trial as run_trial
from slopewise.study._trial._run import training_steps as training_steps
from slopewise.study._trial._sharding import why_not_on as why_not_on
