"""Old names and orders of arguments work for one more version, and warn once."""

import warnings
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import slopewise as sw
from slopewise import errors, functional
from slopewise.testing import synthetic_study

X, R = torch.randn(6, 4), torch.randn(6, 4)
MEAN, VAR, WEIGHT, BIAS = torch.randn(4), torch.rand(4) + 0.5, torch.randn(4), torch.randn(4)


pytestmark = pytest.mark.usefixtures("as_new_process")


@pytest.mark.parametrize("slope", [0.5, torch.tensor([0.1, 0.2, 0.3, 0.4])], ids=["number", "tensor"])
@pytest.mark.parametrize("rest", [(), (WEIGHT,), (WEIGHT, BIAS), (WEIGHT, BIAS, False, 0.1, 1e-3)], ids=len)
def test_a_slope_before_the_statistics(slope, rest):
    expected = F.prelu(F.batch_norm(X, MEAN, VAR, *rest), torch.as_tensor(slope).reshape(-1).expand(4).contiguous())
    torch.testing.assert_close(functional.batch_norm_prelu(X, MEAN, VAR, *rest, slope=slope), expected)
    with pytest.warns(DeprecationWarning, match=r"use batch_norm_prelu\(input, running_mean"):
        old = functional.batch_norm_prelu(X, slope, MEAN, VAR, *rest)
    torch.testing.assert_close(old, expected)
    with pytest.warns(DeprecationWarning, match="residual=residual, slope=slope"):
        old = functional.batch_norm_add_prelu(X, R, slope, MEAN, VAR, *rest)
    torch.testing.assert_close(old, functional.batch_norm_add_prelu(X, MEAN, VAR, *rest, residual=R, slope=slope))
    with warnings.catch_warnings():  # once
        warnings.simplefilter("error")
        functional.batch_norm_prelu(X, slope, running_mean=MEAN, running_var=VAR)


@pytest.mark.parametrize("given", [(MEAN, VAR), (MEAN, VAR, WEIGHT, BIAS, True), (MEAN, VAR, None, None, False, 0.1)])
def test_a_call_of_today_that_lacks_its_slope_is_an_error(given):
    with pytest.raises(TypeError, match="slope"):
        functional.batch_norm_prelu(X, *given)


@pytest.mark.parametrize("given", [(1, 0.1, 1e-3), (None,), (1,)])
def test_a_number_of_slopes_before_eps(given):
    with pytest.warns(DeprecationWarning, match="num_parameters=: eps, momentum"):
        layer = sw.BatchNormPReLU1d(4, *given)
    assert layer.num_parameters == (given[0] or 4)
    assert layer.init == (given[1:] or (0.25,))[0]
    assert layer.eps == (given[2:] or (1e-5,))[0]


def test_the_arguments_of_batch_norm_are_taken_in_its_order():
    given = (4, 1e-3, 0.2, True, False, "cpu", torch.float64)
    layer, reference = sw.BatchNormPReLU1d(*given), nn.BatchNorm1d(*given)
    assert repr(layer).startswith(repr(reference).removesuffix(")").replace("BatchNorm1d", "BatchNormPReLU1d"))


def test_names(tmp_path: Path):
    with pytest.warns(DeprecationWarning, match="use slopewise.init.kaiming"):
        assert sw.init.kaiming_ is sw.init.kaiming
    from slopewise import study

    with pytest.warns(DeprecationWarning, match="use slopewise.study.load_study"):
        assert study.read_results is sw.load_study
    with pytest.raises(errors.StoreError, match="no study in"):
        sw.load_study(tmp_path)
    assert synthetic_study().trials  # records need no deprecated name


@pytest.mark.parametrize("use", [lambda c: c(X), lambda c: c.parameters(), lambda c: c.eval(), lambda c: c.to("cpu")])
def test_a_conversion_is_no_model_and_says_which_is(use):
    conversion = sw.convert(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), X)
    with pytest.raises((TypeError, AttributeError), match=r"conversion\.model"):
        use(conversion)
    with pytest.raises(AttributeError, match=r"no attribute 'wheels'$"):
        _ = conversion.wheels


def test_errors_about_arguments_are_value_errors_too():
    named = [error for name, error in vars(errors).items() if name.endswith("Error") and name != "SlopewiseError"]
    others = {errors.StoreError, errors.EngineError}
    assert {error for error in named if not issubclass(error, ValueError)} == others
    assert all(issubclass(error, errors.SlopewiseError) for error in named)
