"""Cost of reading a folder of photographs, in time and in memory.

3,000 JPEGs of 500 x 375 in two classes, read to 32 x 32 by three candidates in processes of their own, in turn:

- *plain*: a loop over the files with Pillow alone: open, convert, resize (bilinear), to an array, stacked.
- *loader*: what people write for torchvision, with nothing but Pillow and PyTorch: a map-style data set that opens,
  converts, resizes and makes a float tensor, in a DataLoader with a worker process for each core.
- *ours*: `slopewise.study.data.load_data`, with its search for classes, its checks, its digest.

The pictures are smooth colours under fine noise, saved at a quality of 85: about 50 KB each, as photographs are.
Processor time is that of a process and its children, by getrusage. Peak memory is measured on data without files: an
.npz archive of `--gib` of bytes in images, which a driver reads and two workers share, as the largest sum of their
private and shared memory (PSS, so that a page in several processes counts once), less what a process with the same
libraries takes without images, over the bytes of the images. Linux alone.

    python benchmarks/data.py            # a few minutes on two cores
    python benchmarks/data.py --images 60 --gib 0.05 --rounds 1
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from threading import Event, Thread

import numpy as np
import torch
from _harness import write_json
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader, Dataset

from slopewise.study._spec_tables import DataSpec
from slopewise.study.data import ImageData, load_data
from slopewise.timing import Ratio, ratio

SIZE = (32, 32)
TARGETS = {"processor time, ours / plain": 0.6, "peak memory / images": 1.3}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--images", type=int, default=3000, help="pictures (default 3000)")
    options.add_argument("--gib", type=float, default=1.7, help="bytes of the archive in GiB (default 1.7)")
    options.add_argument("--rounds", type=int, default=5, help="turns of each candidate (default 5)")
    options.add_argument("--json", type=Path, help="file to write", metavar="PATH")
    options.add_argument("--once", nargs=2, help=argparse.SUPPRESS)  # what a process of its own is asked to do
    chosen = options.parse_args()
    if chosen.once:
        candidate, path = chosen.once
        print(json.dumps(ONCE[candidate](Path(path))))
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_pictures(root / "pictures", chosen.images)
        turns = [{name: once(name, root / "pictures") for name in READERS} for _ in range(chosen.rounds)]
        write_archive(root / "images.npz", int(chosen.gib * 2**30))
        idle, peak = (once("memory", root / name) for name in ("none", "images.npz"))
    ratios = {
        (name, what): ratio([turn[name][what] for turn in turns], [turn["plain"][what] for turn in turns])
        for name in READERS
        for what in ("processor", "wall")
    }
    memory = (peak["peak"] - idle["peak"]) / peak["bytes"]
    found = {
        "processor time, ours / plain": ratios["ours", "processor"].median,
        "peak memory / images": memory,
    }
    show(turns, ratios, found)
    results = {
        "settings": {"images": chosen.images, "gib": chosen.gib, "rounds": chosen.rounds},
        "turns": turns,
        "memory": {"idle": idle, "peak": peak},
        "targets": [{"what": what, "at_most": TARGETS[what], "measured": value} for what, value in found.items()],
    }
    write_json("data", results, chosen.json)


def once(candidate: str, path: Path) -> dict[str, float]:
    """Have a candidate do its work in a process of its own, and return what it measured."""
    command = [sys.executable, __file__, "--once", candidate, str(path)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def write_pictures(root: Path, count: int) -> None:
    """Write JPEGs of 500 x 375 in two classes."""
    numbers = np.random.default_rng(0)
    for k in range(count):
        colours = Image.fromarray(numbers.integers(0, 256, (24, 32, 3)).astype(np.uint8))
        smooth = np.asarray(colours.resize((500, 375), Image.Resampling.BICUBIC)).astype(int)
        pixels = (smooth + numbers.integers(-12, 13, smooth.shape)).clip(0, 255).astype(np.uint8)
        folder = root / ("cat", "dog")[k % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{k:05d}.jpg", quality=85)


def write_archive(path: Path, size: int) -> None:
    """Write an archive of about `size` bytes in images."""
    count = max(20, size // (3 * 64 * 64))
    pixels = np.random.default_rng(0).integers(0, 256, (count, 3, 64, 64), dtype=np.uint8)
    labels, test = np.arange(count) % 2, count // 10
    np.savez(path, x_train=pixels[test:], y_train=labels[test:], x_test=pixels[:test], y_test=labels[:test])


def read_plain(root: Path) -> None:
    """Read with Pillow alone."""
    np.stack([picture(path) for path in sorted(root.rglob("*.jpg"))])


def picture(path: Path) -> np.ndarray:
    """Read one picture as people do."""
    with Image.open(path) as image:
        return np.array(image.convert("RGB").resize(SIZE[::-1], Image.Resampling.BILINEAR))


class Pictures(Dataset):
    """A folder as torchvision's ImageFolder with Resize and ToTensor gives it."""

    def __init__(self, root: Path) -> None:
        self.paths = sorted(root.rglob("*.jpg"))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        pixels = torch.from_numpy(picture(self.paths[index])).permute(2, 0, 1)
        return pixels.to(torch.float32).div(255), self.paths[index].parent.name == "dog"


def read_loader(root: Path) -> None:
    """Read one epoch through a DataLoader with workers."""
    for _ in DataLoader(Pictures(root), batch_size=128, num_workers=os.cpu_count() or 1):
        pass


def read_ours(root: Path) -> None:
    """Read as a study does."""
    load_data(DataSpec(source="folder", path=str(root), image_size=SIZE))


READERS = {"plain": read_plain, "loader": read_loader, "ours": read_ours}


def timed(read: Callable[[Path], None]) -> Callable[[Path], dict[str, float]]:
    """Measure a reader; a first call on few files loads what it needs."""

    def measure(root: Path) -> dict[str, float]:
        with tempfile.TemporaryDirectory() as folder:
            write_pictures(Path(folder), 20)
            read(Path(folder))
        processor, wall = processor_seconds(), time.perf_counter()
        read(root)
        return {"processor": processor_seconds() - processor, "wall": time.perf_counter() - wall}

    return measure


def processor_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def measure_memory(path: Path) -> dict[str, float]:
    """Read an archive, have two workers look at all images, and return the largest sum of memory meanwhile."""
    over, peak = Event(), [0]

    def watch() -> None:
        while not over.wait(0.02):
            peak[0] = max(peak[0], proportional_bytes())

    spec = DataSpec(source="npz", path=str(path)) if path.exists() else DataSpec(source="digits")
    watcher = Thread(target=watch)
    watcher.start()
    data = load_data(spec)
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=look, args=(data,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    over.set()
    watcher.join()
    pixels = [images._pixels.nbytes for images in (data.train_images, data.test_images)]
    return {"peak": peak[0], "bytes": sum(pixels)}


def look(data: ImageData) -> None:
    """Gather every image once, batch by batch."""
    for images in (data.train_images, data.test_images):
        for index in torch.arange(len(images)).split(128):
            images[index].sum()


def proportional_bytes() -> int:
    """Memory of this process and its children, each page shared out among those that map it."""
    total, processes = 0, [os.getpid()]
    while processes:
        process = Path(f"/proc/{processes.pop()}")
        try:
            rollup = (process / "smaps_rollup").read_text(encoding="ascii")
            total += 1024 * int(next(line.split()[1] for line in rollup.splitlines() if line.startswith("Pss:")))
            for thread in (process / "task").iterdir():
                processes += map(int, (thread / "children").read_text(encoding="ascii").split())
        except (OSError, StopIteration):  # it has just ended
            continue
    return total


ONCE = {**{name: timed(read) for name, read in READERS.items()}, "memory": measure_memory}


def show(
    turns: list[dict[str, dict[str, float]]], ratios: dict[tuple[str, str], Ratio], found: dict[str, float]
) -> None:
    """Print a table of the readers and a line a target."""
    table = Table(title="Reading a folder of JPEGs", title_justify="left")
    for column in ("", "processor s", "/ plain", "wall s", "/ plain"):
        table.add_column(column, justify="right" if column else "left")
    for name in READERS:
        cells = []
        for what in ("processor", "wall"):
            against = ratios[name, what]
            seconds = median(turn[name][what] for turn in turns)
            cells += [f"{seconds:.2f}", f"{against.median:.2f} [{against.low:.2f}, {against.high:.2f}]"]
        table.add_row(name, *cells)
    Console(width=max(Console().width, 100)).print(table)
    for what, value in found.items():
        holds = "holds" if value <= TARGETS[what] else "does not hold"
        print(f"{what}: {value:.2f}, at most {TARGETS[what]}: {holds}")


if __name__ == "__main__":
    main()
