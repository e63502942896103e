"""Activations in a watched forward pass: as modules, as functions, and written out; and their roles."""

from slopewise.activations._detection import Activation as Activation
from slopewise.activations._detection import activation_of as activation_of
from slopewise.activations._detection import activations_in as activations_in
from slopewise.activations._kinds import KINDS as KINDS
from slopewise.activations._kinds import Kind as Kind
from slopewise.activations._kinds import kind_of as kind_of
from slopewise.activations._kinds import kind_of_function as kind_of_function
from slopewise.activations._pointwise import changes_input as changes_input
from slopewise.activations._pointwise import plain_name as plain_name
from slopewise.activations._roles import SIGN as SIGN
from slopewise.activations._roles import Role as Role
from slopewise.activations._roles import is_activation as is_activation
from slopewise.activations._roles import role_of as role_of
from slopewise.activations._roles import sign_matters as sign_matters
