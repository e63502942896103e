"""slopewise: what a learned negative slope (PReLU) does to the training of a CNN, and whether it is worth it.

The layers and conversion need torch alone. `Study`, `load_spec` and `Results` need `pip install slopewise[study]`,
`export_model` and `quantize_onnx` need `slopewise[export]`; both are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slopewise import init as init
from slopewise import nn as nn
from slopewise import ops as ops
from slopewise.convert import Conversion as Conversion
from slopewise.convert import ConversionWarning as ConversionWarning
from slopewise.convert import Folding as Folding
from slopewise.convert import convert as convert
from slopewise.convert import fold as fold
from slopewise.errors import need
from slopewise.monitor import Monitor as Monitor
from slopewise.monitor import watch as watch
from slopewise.nn import BatchNormPReLU1d as BatchNormPReLU1d
from slopewise.nn import BatchNormPReLU2d as BatchNormPReLU2d
from slopewise.nn import BatchNormPReLU3d as BatchNormPReLU3d
from slopewise.nn import ConvBNPReLU as ConvBNPReLU
from slopewise.nn import PReLU as PReLU
from slopewise.nn import functional as functional
from slopewise.optim import SlopeSchedule as SlopeSchedule
from slopewise.optim import param_groups as param_groups

if TYPE_CHECKING:
    from slopewise.export import export_model as export_model
    from slopewise.export import quantize_onnx as quantize_onnx
    from slopewise.results import Results as Results
    from slopewise.study import Study as Study
    from slopewise.study import load_spec as load_spec

__all__ = [
    "BatchNormPReLU1d",
    "BatchNormPReLU2d",
    "BatchNormPReLU3d",
    "ConvBNPReLU",
    "Conversion",
    "ConversionWarning",
    "Folding",
    "Monitor",
    "PReLU",
    "Results",
    "SlopeSchedule",
    "Study",
    "convert",
    "export_model",
    "fold",
    "functional",
    "init",
    "load_spec",
    "nn",
    "ops",
    "param_groups",
    "quantize_onnx",
    "watch",
]

_LAZY = {
    "Results": ("slopewise.results", "study"),
    "Study": ("slopewise.study", "study"),
    "export_model": ("slopewise.export", "export"),
    "load_spec": ("slopewise.study", "study"),
    "quantize_onnx": ("slopewise.export", "export"),
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'slopewise' has no attribute '{name}'")
    module, extra = _LAZY[name]
    return getattr(need(module, what=f"slopewise.{name}", extra=extra), name)
