"""Watching what activations do while a network trains; the definitions hold for every activation alike."""

from slopewise.monitor._probe import LayerGradient as LayerGradient
from slopewise.monitor._probe import SiteState as SiteState
from slopewise.monitor._probe import learned_slopes as learned_slopes
from slopewise.monitor._probe import probe as probe
