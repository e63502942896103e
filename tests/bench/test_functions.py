"""Candidates are compared in time: they must do the same work."""

import pytest
import torch
import torch.nn.functional as F

from slopewise.bench import DTYPES, LAYOUTS, kernel_jobs
from slopewise.bench._functions import batch_norm_candidates, prelu_candidates

SIZE = (4, 6, 5, 7)
TOLERANCE = {"float32": 1e-5, "bfloat16": 3e-2}


@pytest.fixture(params=LAYOUTS)
def layout(request):
    return request.param


@pytest.fixture(params=DTYPES)
def dtype(request):
    return request.param


def inputs(count, layout, dtype):
    """The tensors of the candidates: normal numbers of seed 0, one after another."""
    generator = torch.Generator().manual_seed(0)
    tensors = (torch.randn(SIZE, generator=generator) for _ in range(count))
    return [t.to(DTYPES[dtype], memory_format=LAYOUTS[layout]).double() for t in tensors]


def close(actual, expected, dtype):
    scale = max(expected.abs().max().item(), 1.0)
    torch.testing.assert_close(actual.double(), expected, rtol=0, atol=TOLERANCE[dtype] * scale)


@pytest.mark.parametrize("slopes", ["shared", "per channel"])
def test_prelu_candidates_compute_prelu_and_its_gradients(layout, dtype, slopes):
    x, grad = inputs(2, layout, dtype)
    slope = torch.full((6 if slopes == "per channel" else 1,), 0.25, dtype=torch.double, requires_grad=True)
    expected = F.prelu(x.requires_grad_(), slope)
    gradients = torch.autograd.grad(expected, (x, slope), grad)
    candidates = prelu_candidates(SIZE, layout, dtype, slopes, compiled=False)
    for name in ("F.prelu", "slopewise prelu"):
        output = candidates[name]["forward"]()
        assert output.dtype == DTYPES[dtype]
        assert output.is_contiguous(memory_format=LAYOUTS[layout])
        close(output, expected.detach(), dtype)
        for name_of_pass in ("backward", "backward", "both"):  # the graph serves again and again
            for a, b in zip(candidates[name][name_of_pass](), gradients, strict=True):
                close(a, b, dtype)
    close(candidates["F.relu"]["forward"](), x.detach().relu(), dtype)
    close(candidates["F.relu"]["both"]()[0], grad * (x > 0), dtype)


def test_the_floor_moves_the_bytes_of_both_passes(layout, dtype):
    x, grad = inputs(2, layout, dtype)
    floor = prelu_candidates(SIZE, layout, dtype, "shared", compiled=False)["copy"]
    copied = floor["forward"]()
    assert torch.equal(copied.double(), x)
    assert copied.is_contiguous(memory_format=LAYOUTS[layout])
    close(floor["backward"](), x + grad, dtype)
    assert len(floor["both"]()) == 2


@pytest.mark.parametrize("residual", ["no residual", "residual added"])
def test_batch_norm_candidates_compute_the_same(layout, dtype, residual):
    x, other, grad = inputs(3, layout, dtype)
    added = [other] if residual == "residual added" else []
    leaves = [x, torch.ones(6).double(), torch.zeros(6).double(), *added]
    slope = torch.full((6,), 0.25, dtype=torch.double, requires_grad=True)
    for leaf in leaves:
        leaf.requires_grad_()
    variance, mean = torch.var_mean(x, (0, 2, 3), correction=0, keepdim=True)
    summed = (x - mean) / (variance + 1e-5).sqrt() * leaves[1][:, None, None] + leaves[2][:, None, None]
    summed = sum(added, start=summed)
    candidates = batch_norm_candidates(SIZE, layout, dtype, residual, compiled=False)
    copied = candidates.pop("copy")
    assert torch.equal(copied["forward"](), x.detach().to(DTYPES[dtype]))
    for name, by_pass in candidates.items():
        relu = name == "BatchNorm+ReLU(inplace)"
        expected = summed.relu() if relu else torch.where(summed > 0, summed, slope[:, None, None] * summed)
        inputs_of_gradients = leaves if relu else [*leaves, slope]
        gradients = torch.autograd.grad(expected, inputs_of_gradients, grad, retain_graph=True)
        close(by_pass["forward"](), expected.detach(), dtype)
        for name_of_pass in ("backward", "backward", "both"):
            actual = by_pass[name_of_pass]()
            assert len(actual) == len(gradients)
            if dtype == "float32":  # bfloat16 signs near 0 differ from float64's
                for a, b in zip(actual, gradients, strict=True):
                    close(a, b, dtype)


def test_jobs_are_every_combination_once():
    words = [words for words, _ in kernel_jobs()]
    assert len(words) == len(set(words)) == 7 * 2 * 2 * (2 + 2)
    assert words[0] == "prelu 8x8x8x8 contiguous float32 shared"
    assert words[-1] == "batch_norm_prelu 128x64x8x8 channels_last bfloat16 residual added"


def test_a_job_measures_every_candidate_in_every_pass():
    ((_, measure),) = kernel_jobs(
        sizes=[SIZE], layouts=["contiguous"], dtypes=["float32"], slopes=["shared"], residuals=[], compiled=False,
        rounds=2,
    )  # fmt: skip
    measurements = measure()
    assert [m.case["pass"] for m in measurements] == ["forward", "backward", "both"]
    for measurement in measurements:
        assert measurement.base == "F.relu"
        assert {"F.prelu", "slopewise prelu", "copy"} < measurement.values.keys()
        assert all(len(times) == 2 and min(times) > 0 for times in measurement.values.values())
