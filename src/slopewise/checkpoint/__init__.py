"""Checkpoints, read as plain tensors on the CPU: no model code is needed, and none in the file is run."""

from slopewise.checkpoint._names import AVERAGED as AVERAGED
from slopewise.checkpoint._names import StateDict as StateDict
from slopewise.checkpoint._names import below as below
from slopewise.checkpoint._names import metadata_of as metadata_of
from slopewise.checkpoint._names import strip_prefixes as strip_prefixes
from slopewise.checkpoint._state_dict import Checkpoint as Checkpoint
from slopewise.checkpoint._state_dict import load_state_dict as load_state_dict
from slopewise.checkpoint._state_dict import read_checkpoint as read_checkpoint
from slopewise.errors import CheckpointError as CheckpointError
