"""slopewise: what a learned negative slope (PReLU) does to the training of a CNN, and whether it is worth it.

The layers and conversion need torch alone. `Study`, `load_spec`, `load_study`, `judge` and `Results` need
`pip install slopewise[study]`, `export_model` and `quantize_onnx` need `slopewise[export]`. Every name is imported when
it is first used, so that commands that need no tensors do not wait for torch.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from slopewise.errors import SlopewiseError as SlopewiseError
from slopewise.support import citation, importer

if TYPE_CHECKING:
    from slopewise import init as init
    from slopewise import monitor as monitor
    from slopewise import nn as nn
    from slopewise import ops as ops
    from slopewise import optim as optim
    from slopewise.convert import Conversion as Conversion
    from slopewise.convert import ConversionWarning as ConversionWarning
    from slopewise.convert import Folding as Folding
    from slopewise.convert import convert as convert
    from slopewise.convert import fold as fold
    from slopewise.export import export_model as export_model
    from slopewise.export import quantize_onnx as quantize_onnx
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
    from slopewise.optim import set_shared_gradient as set_shared_gradient
    from slopewise.results import Results as Results
    from slopewise.study import Study as Study
    from slopewise.study import load_spec as load_spec
    from slopewise.study import load_study as load_study
    from slopewise.tables import judge as judge

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
    "judge",
    "load_spec",
    "load_study",
    "nn",
    "ops",
    "param_groups",
    "quantize_onnx",
    "set_shared_gradient",
    "watch",
]

__getattr__ = importer(
    __name__,
    {
        "convert": ("Conversion", "ConversionWarning", "Folding", "convert", "fold"),
        "export": ("export_model", "quantize_onnx"),
        "monitor": ("Monitor", "watch"),
        "nn": ("BatchNormPReLU1d", "BatchNormPReLU2d", "BatchNormPReLU3d", "ConvBNPReLU", "PReLU", "functional"),
        "optim": ("SlopeSchedule", "param_groups", "set_shared_gradient"),
        "results": ("Results",),
        "study": ("Study", "load_spec", "load_study"),
        "tables": ("judge",),
    },
    modules=("init", "monitor", "nn", "ops", "optim"),
    extras={"export": "export", "results": "study", "study": "study", "tables": "study"},
)


class _Package(ModuleType):
    """The package's own module type, in which `convert` is the function, although a subpackage has the same name.

    Importing `slopewise.convert` sets an attribute of the package to the subpackage. A property takes precedence.
    The version is looked up on use: a source tree that is not installed has none, and its layers work all the same.
    """

    @property
    def __version__(self) -> str:
        return citation.version()

    @property
    def convert(self) -> Any:
        return __getattr__("convert")

    @convert.setter
    def convert(self, value: Any) -> None:
        if not isinstance(value, ModuleType):
            raise AttributeError("slopewise.convert cannot be replaced")


sys.modules[__name__].__class__ = _Package
