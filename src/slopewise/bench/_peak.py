"""The process that measures one peak: `python -m slopewise.bench._peak SETTINGS`, a JSON object. Linux only.

It makes two training steps on two images, which load the libraries, start the threads and allocate the optimizer's
state. Then it returns free memory to the system, reads the resident memory (VmRSS), resets the kernel's high-water mark
to it, makes one step on the whole batch, and prints the new mark (VmHWM) minus the resident memory, in bytes. All that
the step allocates counts, not only activations: also gradients, and the workspace of the convolutions. The process has
the system's allocator settings, even if the rest of the benchmark keeps memory: kept memory has no high-water mark.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
from contextlib import suppress
from pathlib import Path

import torch

from slopewise.bench._networks import batch_of, seeded, training_step

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def main(arguments: str) -> None:
    """Print the rise in this process's resident memory during one step, in bytes."""
    settings = json.loads(arguments)
    torch.set_num_threads(settings["threads"])
    model = seeded(settings["network"], settings["variant"], settings["layout"], settings["width"])
    images, labels = batch_of(settings["batch"], settings["layout"])
    step = training_step(model)
    step(images[:2], labels[:2])
    step(images[:2], labels[:2])
    gc.collect()
    _trim()
    level = _kibibytes("VmRSS")
    with suppress(OSError):  # without the right to reset it, the mark is the process's, which a real step exceeds
        _CLEAR.write_text("5", encoding="ascii")
    step(images, labels)
    sys.stdout.write(f"{1024 * (_kibibytes('VmHWM') - level)}\n")


def _kibibytes(field: str) -> int:
    for line in _STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise RuntimeError(f"{_STATUS} has no {field}")


def _trim() -> None:
    """Return free memory to the system: the C library would otherwise serve the step from it, unmeasured."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # in glibc, but not in musl
    if trim is not None:
        trim(0)


if __name__ == "__main__":
    main(sys.argv[1])
