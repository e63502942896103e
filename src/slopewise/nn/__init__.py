"""Layers with learned negative slopes, and the pure functions under them."""

from slopewise.nn import functional as functional
from slopewise.nn._batch_norm_prelu import BatchNormPReLU as BatchNormPReLU
from slopewise.nn._batch_norm_prelu import BatchNormPReLU1d as BatchNormPReLU1d
from slopewise.nn._batch_norm_prelu import BatchNormPReLU2d as BatchNormPReLU2d
from slopewise.nn._batch_norm_prelu import BatchNormPReLU3d as BatchNormPReLU3d
from slopewise.nn._conv_bn_prelu import ConvBNPReLU as ConvBNPReLU
from slopewise.nn._prelu import PReLU as PReLU
from slopewise.nn._slopes import SharedGradient as SharedGradient
from slopewise.nn._slopes import slopes_in_use as slopes_in_use
from slopewise.nn.pair import Pair as Pair
