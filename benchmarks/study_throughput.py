"""Speed of `slopewise run`, compared with a script written by hand.

Both do the default study (same data, network, arms, seeds, epochs and batch), as whole processes, start-up included,
in turn: ours, plain, ours, plain, ... The ratio of each pair is what counts, not either time.

    python benchmarks/study_throughput.py --rounds 3
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from _harness import write_json

from slopewise.study import StudySpec

PLAIN = Path(__file__).with_name("_plain_study.py")


def main() -> None:
    spec = StudySpec()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=len(spec.seeds))
    arguments = parser.parse_args()
    train = {"epochs": spec.train.epochs, "batch-size": spec.train.batch_size, "lr": spec.train.lr}
    plain = [sys.executable, str(PLAIN), f"--seeds={arguments.seeds}", *(f"--{k}={v}" for k, v in train.items())]
    pairs = []
    for number in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as folder:
            ours = [sys.executable, "-m", "slopewise", "run", "--seeds", str(arguments.seeds), "--out", folder]
            pairs.append((seconds(ours), seconds(plain)))
        print(
            f"round {number + 1}: slopewise {pairs[-1][0]:.0f} s, plain {pairs[-1][1]:.0f} s, "
            f"{pairs[-1][1] / pairs[-1][0]:.2f} times faster"
        )
    ratio = median(theirs / ours for ours, theirs in pairs)
    print(f"slopewise runs the default study ({arguments.seeds} seeds) {ratio:.2f} times faster than the plain script")
    write_json("study_throughput", {"seeds": arguments.seeds, "pairs_seconds": pairs, "ratio": ratio})


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
