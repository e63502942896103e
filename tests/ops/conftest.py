"""Fixtures of the tests of operators: the kernels for tensors of every size, and a record of their calls."""

import os
from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

import slopewise as sw
from slopewise.ops import _batch_norm_prelu, _loading, _prelu


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def kernels():
    """The kernels take every tensor that is theirs and has elements, where they would leave small ones to PyTorch."""
    setting = os.environ.get(_loading.SWITCH, "")
    if not _loading.asks_for_kernels(setting):
        pytest.skip(f"{_loading.SWITCH}={setting}")
    assert sw.ops.backend().name == "kernels", str(sw.ops.backend())  # else these tests would compare PyTorch to itself
    with pytest.MonkeyPatch.context() as patch:
        for module in (_prelu, _batch_norm_prelu):
            patch.setattr(module, "_SMALLEST", 1)
        yield


class _Record(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        if operator.namespace == "slopewise":
            self.names.append(operator._schema.name.removeprefix("slopewise::"))
        return operator(*args, **(kwargs or {}))


@pytest.fixture(scope="session")
def operators():
    """A context manager: the list of the operators of slopewise that run within it, which is empty for PyTorch's."""

    @contextmanager
    def record():
        with _Record() as mode:
            yield mode.names

    return record


# The kernels cut memory into pieces, of one channel each or of whole rows of all channels; each of these has several.
PIECES = {
    "planes": (2, 5, 130, 130),  # a plane is more than one piece
    "small planes": (40, 24, 7, 6),
    "vectors": (1100, 7, 3),  # rows of channels by 3
    "many short vectors": (3, 600, 28),  # a row would be too long
    "features": (900, 50),
    "many features": (9, 17_000),
    "volumes": (2, 6, 9, 17, 23),
}
LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


@pytest.fixture(
    params=[
        *PIECES,
        *(f"{name}, channels last" for name, shape in PIECES.items() if len(shape) in LAST),
    ]
)
def large(request):
    """A function that makes random tensors of one shape and layout, which the kernels cut into several pieces."""
    shape = PIECES[request.param.removesuffix(", channels last")]
    layout = LAST[len(shape)] if request.param.endswith("channels last") else torch.contiguous_format

    def make(dtype, seed=0):
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(shape, generator=generator).to(dtype).contiguous(memory_format=layout)

    return make


@pytest.fixture(scope="session")
def pair():
    """PyTorch's batch normalisation, addition and PReLU, which the fused operator stands for."""

    def function(x, residual, slope, mean, var, weight, bias, training, momentum=0.1, eps=1e-5):
        z = F.batch_norm(x, mean, var, weight, bias, training, momentum, eps)
        return F.prelu(z if residual is None else z + residual, slope.to(z.dtype))

    return function


@pytest.fixture(scope="session")
def right_slope_gradient():
    """Check a slope gradient of the kernels against the sum in float64, within what rounding may lose."""

    def check(gradient, x, slope, upstream, channel_dim=1):
        terms = torch.where(x > 0, 0.0, x.double() * upstream.double()).detach()
        by_slope = terms.reshape(1, -1) if slope.numel() == 1 else terms.movedim(channel_dim, 0).flatten(1)
        exact, magnitude = by_slope.sum(1).reshape(slope.shape), by_slope.abs().sum(1).reshape(slope.shape)
        # At most 512 additions one after another, in float32 if not in float64; then one rounding to the slope's dtype.
        lost = 512 * torch.finfo(torch.promote_types(x.dtype, torch.float32)).eps * magnitude
        kind = torch.finfo(slope.dtype)
        rounded = kind.eps * exact.abs().clamp(min=kind.tiny)  # below which the next number is no nearer
        assert gradient.shape == slope.shape
        assert gradient.dtype == slope.dtype
        assert torch.equal(gradient.isnan(), exact.isnan())
        assert torch.equal(gradient.isinf(), exact.isinf())
        assert ((gradient - exact).nan_to_num().abs() <= (lost + rounded).nan_to_num()).all()

    return check


@pytest.fixture
def threads():
    """Set the number of threads; it is as before after the test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)
