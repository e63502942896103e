"""Forward passes, recorded: module calls, operations, values, and where the channels are."""

from slopewise.trace._axes import axis_of as axis_of
from slopewise.trace._data import Axis as Axis
from slopewise.trace._data import ForwardTrace as ForwardTrace
from slopewise.trace._data import Inputs as Inputs
from slopewise.trace._data import ModuleCall as ModuleCall
from slopewise.trace._data import OpCall as OpCall
from slopewise.trace._data import Value as Value
from slopewise.trace._data import Where as Where
from slopewise.trace._data import tensors_in as tensors_in
from slopewise.trace._recorder import DESCRIPTIONS as DESCRIPTIONS
from slopewise.trace._recorder import TraceRecorder as TraceRecorder
from slopewise.trace._recorder import is_whole as is_whole
from slopewise.trace._recorder import trace_forward as trace_forward
from slopewise.trace._undisturbed import held_by as held_by
from slopewise.trace._undisturbed import undisturbed as undisturbed
