"""Models with slopes for other runtimes: ONNX and torch.export files, compared with the model before they are kept.

Writing `.onnx` needs `pip install slopewise[export]`; `.pt2` needs torch alone.
"""

from slopewise.errors import ExportError as ExportError
from slopewise.errors import ExportWarning as ExportWarning
from slopewise.export._base import Exporter as Exporter
from slopewise.export._base import Options as Options
from slopewise.export._base import Source as Source
from slopewise.export._model import export_model as export_model
from slopewise.export._named import EXPORTERS as EXPORTERS
from slopewise.export._named import exporter_of as exporter_of
from slopewise.export._named import register_exporter as register_exporter
from slopewise.export._quantize import QuantizationReport as QuantizationReport
from slopewise.export._quantize import quantize_onnx as quantize_onnx
from slopewise.export._report import ExportReport as ExportReport
from slopewise.export._report import Parity as Parity
from slopewise.export._report import Written as Written
from slopewise.export.runtimes import Exported as Exported
from slopewise.export.runtimes import Loaded as Loaded
from slopewise.export.runtimes import Runtime as Runtime
