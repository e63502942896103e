"""Arguments that would make the kernels read memory that is not theirs: refused with a message instead of a crash."""

import pytest
import torch

OPERATORS = torch.ops.slopewise
pytestmark = pytest.mark.usefixtures("kernels")

X, PER_CHANNEL, TWO = torch.ones(8, 3), torch.ones(3), torch.ones(2)
STATISTICS = {"mean": PER_CHANNEL, "var": PER_CHANNEL}
AFFINE = {"weight": PER_CHANNEL, "bias": PER_CHANNEL}
FITTING = {
    "prelu": {"input": X, "slope": PER_CHANNEL, "channel_dim": 1},
    "prelu_backward": {"grad": X, "given": X, "slope": PER_CHANNEL, "channel_dim": 1, "inverted": False},
    "batch_norm_prelu": {"input": X, "residual": X, "slope": PER_CHANNEL, **AFFINE, "eps": 1e-5}
    | {f"running_{name}": values for name, values in STATISTICS.items()},
    "batch_norm_prelu_backward": {"grad": X, "given": X, "residual": X, "slope": PER_CHANNEL, **STATISTICS, **AFFINE}
    | {"training": True, "eps": 1e-5, "inverted": False},
}
COUNT = "has 2 values for an input of 3 channels"
SHAPES = [torch.ones(1), torch.ones(3), torch.ones(1, 3), torch.ones(8, 1), torch.ones(8, 3, 1), torch.ones(8, 4)]
KERNEL_DTYPES = "take float32, bfloat16 and float64"

CASES = [
    ("prelu", {"slope": TWO}, COUNT),
    ("prelu", {"slope": torch.ones(0)}, "has 0 values for an input of 3 channels"),
    ("prelu", {"slope": PER_CHANNEL.view(3, 1)}, "a scalar or a vector"),
    ("prelu", {"slope": PER_CHANNEL.bfloat16()}, "differ in dtype"),
    ("prelu", {"channel_dim": 2}, "no dimension 2"),
    ("prelu", {"channel_dim": -3}, "no dimension -3"),
    ("prelu", {"input": X.half(), "slope": PER_CHANNEL.half()}, KERNEL_DTYPES),
    ("prelu", {"input": X.int(), "slope": PER_CHANNEL.int()}, KERNEL_DTYPES),
    *(("prelu_backward", {"grad": grad}, "differs in shape") for grad in SHAPES),
    ("prelu_backward", {"grad": X.bfloat16()}, "differs in dtype"),
    ("prelu_backward", {"slope": TWO}, COUNT),
    ("batch_norm_prelu", {"input": PER_CHANNEL}, "a dimension of samples and one of channels"),
    ("batch_norm_prelu", {"input": torch.tensor(1.0)}, "a dimension of samples and one of channels"),
    ("batch_norm_prelu", {"running_var": None}, "a mean goes with a variance"),
    ("batch_norm_prelu", {"running_mean": None}, "a mean goes with a variance"),
    ("batch_norm_prelu", {"weight": PER_CHANNEL.half()}, KERNEL_DTYPES),
    *(("batch_norm_prelu", {name: TWO}, COUNT) for name in ("running_mean", "running_var", "slope", "weight", "bias")),
    *(("batch_norm_prelu", {"residual": residual}, "differs in shape") for residual in SHAPES),
    ("batch_norm_prelu", {"residual": X.bfloat16()}, "differs in dtype"),
    *(("batch_norm_prelu_backward", {name: TWO}, COUNT) for name in ("mean", "var", "slope", "weight", "bias")),
    *(("batch_norm_prelu_backward", {name: t}, "differs in shape") for name in ("grad", "residual") for t in SHAPES),
    *(("batch_norm_prelu_backward", {name: X.bfloat16()}, "differs in dtype") for name in ("grad", "residual")),
    ("batch_norm_prelu_backward", {"grad": PER_CHANNEL, "given": PER_CHANNEL, "residual": None}, "one of channels"),
]


@pytest.mark.parametrize("name", FITTING)
def test_tensors_that_fit_are_taken(name):
    getattr(OPERATORS, name)(**FITTING[name])


@pytest.mark.parametrize(("name", "changed", "words"), CASES)
def test_tensors_that_do_not_fit_are_refused(name, changed, words):
    with pytest.raises(RuntimeError, match=words):
        getattr(OPERATORS, name)(**FITTING[name] | changed)
