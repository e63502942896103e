"""The operators under the layers: compiled kernels where they fit, PyTorch's own operations where they do not.

`prelu` and `batch_norm_prelu` underlie `slopewise.nn.functional`, which documents them.
"""

from slopewise.errors import KernelsWarning as KernelsWarning
from slopewise.ops import _library as _library  # the schemas, before the kernels that implement them
from slopewise.ops._batch_norm_prelu import batch_norm_prelu as batch_norm_prelu
from slopewise.ops._loading import Backend as Backend
from slopewise.ops._loading import backend as backend
from slopewise.ops._loading import load as _load
from slopewise.ops._loading import use_kernels as use_kernels
from slopewise.ops._prelu import prelu as prelu

_load()
