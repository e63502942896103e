"""Initialisation that takes account of slopes: Kaiming's gain for every layer, from the activations next to it."""

from slopewise.init._expectation import gain as gain
from slopewise.init._kaiming import kaiming as kaiming
from slopewise.init._report import Initialisation as Initialisation
from slopewise.init._report import Layer as Layer
from slopewise.support import importer

__getattr__ = importer(__name__, {}, renamed={"kaiming_": "kaiming"})
