"""Initialisation that takes account of slopes: Kaiming's gain for every layer, from the activations next to it."""

from slopewise.init._expectation import gain as gain
from slopewise.init._kaiming import kaiming_ as kaiming_
from slopewise.init._report import Initialisation as Initialisation
from slopewise.init._report import Layer as Layer
