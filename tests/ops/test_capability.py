"""Every instruction set that this processor has gives the same bits."""

import os
import subprocess
import sys

import pytest

import slopewise as sw

pytestmark = pytest.mark.usefixtures("kernels")
SCRIPT = """
import hashlib, torch, slopewise as sw, slopewise.ops
torch.manual_seed(0)
bits = hashlib.sha256()
for dtype in (torch.float32, torch.bfloat16, torch.float64):
    for shape in ((8, 6, 40, 41), (64, 24, 9, 9), (700, 33), (64, 16, 8, 8)):
        for memory_format in (torch.contiguous_format, *[torch.channels_last] * (len(shape) == 4)):
            x, r, g = (torch.randn(shape).to(dtype).contiguous(memory_format=memory_format) for _ in range(3))
            a, w, b = (torch.rand(shape[1], dtype=dtype) + 0.1 for _ in range(3))
            ops, sums = torch.ops.slopewise, torch.zeros(6, shape[1], dtype=torch.float64)
            for keep in (False, True):
                kept = ops.add_unit_signs(sums, x, 1, keep)
            ops.add_unit_reached(sums, x, 1)
            ops.add_unit_squares(sums, g, r, 1)
            ops.add_unit_behind(sums, x, g, a, 1)
            if kept.numel():
                ops.add_unit_squares_kept(sums, kept, g, 1)
                ops.add_unit_behind_kept(sums, kept, g, a, 1)
            bits.update(sums.numpy().tobytes())
            learned = [t.requires_grad_() for t in (x, r, a, w, b)]
            for low_memory in (False, True):
                outputs = (
                    sw.functional.prelu(x, a, low_memory=low_memory),
                    sw.functional.batch_norm_prelu(x, None, None, w, b, True, slope=a, low_memory=low_memory),
                    sw.functional.batch_norm_add_prelu(
                        x, None, None, w, b, True, residual=r, slope=a, low_memory=low_memory
                    ),
                )
                for y in outputs:
                    for t in (y, *torch.autograd.grad(y, learned, g, allow_unused=True)):
                        if t is not None:
                            bits.update(t.detach().contiguous().view(torch.uint8).numpy().tobytes())
print(torch.ops.slopewise.cpu_capability(), bits.hexdigest())
"""


def run(capability):
    environment = {**os.environ, "SLOPEWISE_CPU_CAPABILITY": capability, "SLOPEWISE_KERNELS": "1"}
    command = [sys.executable, "-c", SCRIPT]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=200)
    return ran.stdout.split()


def test_all_instruction_sets_give_the_same_bits():
    best, expected = run("avx512")
    assert best in sw.ops.backend().reason
    for capability in ("baseline", "avx2"):
        used, bits = run(capability)
        assert used == capability or best == "baseline"  # which is all that other architectures have
        assert bits == expected


def test_an_unknown_instruction_set_is_refused():
    with pytest.raises(subprocess.CalledProcessError) as refused:
        run("avx5")
    assert "SLOPEWISE_CPU_CAPABILITY must be baseline, avx2 or avx512, got 'avx5'" in refused.value.stderr
