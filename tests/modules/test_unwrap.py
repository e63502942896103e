"""Wrappers are opened from the outside in, as the policy says; what it does not name stays, what it refuses raises."""

import pytest
import torch
from torch import nn

from slopewise.modules import unwrap

# PyTorch's own, of modules that torch.compile imports.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")


def refuse(wrapper: nn.Module) -> Exception:
    return LookupError(type(wrapper).__name__)


def test_nested_wrappers_are_opened_in_order() -> None:
    net = nn.Linear(2, 1)
    wrapped = torch.compile(nn.DataParallel(nn.DataParallel(net)))
    within = unwrap(wrapped, {"compiled": "open", "data parallel": "open"})
    assert within.model is net
    assert [kind for kind, _ in within.wrappers] == ["compiled", "data parallel", "data parallel"]


def test_a_wrapper_that_the_policy_does_not_name_stays() -> None:
    parallel = nn.DataParallel(nn.Linear(2, 1))
    within = unwrap(torch.compile(parallel), {"compiled": "open"})
    assert within.model is parallel
    assert within.has("compiled")
    assert not within.has("data parallel")


def test_a_refused_wrapper_raises_the_callers_error_also_within_another() -> None:
    with pytest.raises(LookupError, match="DataParallel"):
        unwrap(torch.compile(nn.DataParallel(nn.Linear(2, 1))), {"compiled": "open", "data parallel": refuse})
