#!/usr/bin/env bash
# Versions:   captum 0.9.0, torch 2.13.0, numpy 2.4.6
# Guess:      DeepLift treats a PReLU as it treats a LeakyReLU of the same slope, or warns that it does not know it:
#             attributions add up to the change of the output (the convergence delta is 0).
# Behaviour:  PReLU, of one slope or one per channel, is not among the activations that DeepLift's rules are made for.
#             It is passed through with its plain gradient, so that attributions do not add up, without a word about it.
#             LeakyReLU with the same slope, the same function, adds up. DeepLiftShap inherits this.
# Output:     (a network 4-8-1, 64 inputs; largest |convergence delta|, largest |change of the output|)
#             LeakyReLU(0.25)  0.000 of 0.352, warnings about it: 0
#             PReLU(1)         0.115 of 0.352, warnings about it: 0
#             PReLU(8)         0.115 of 0.352, warnings about it: 0
# For users:  Whoever explains a network with PReLU, for instance after comparing it with ReLU's by the same method: the
#             attributions of the two are then made by different rules. docs/layers.md says what to do.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q captum==0.9.0 torch==2.13.0 numpy==2.4.6
cd "$folder"
cat > check.py <<'PYTHON'
import warnings

import torch
from captum.attr import DeepLift
from torch import nn

INPUTS, BASELINE = torch.randn(64, 4, generator=torch.Generator().manual_seed(0)), torch.zeros(64, 4)


def deltas(activation):
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(4, 8), activation, nn.Linear(8, 1)).eval()
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        _, delta = DeepLift(network).attribute(INPUTS, BASELINE, target=0, return_convergence_delta=True)
    change = (network(INPUTS) - network(BASELINE)).detach().abs().max().item()
    about = [warning for warning in given if "prelu" in str(warning.message).lower()]
    return delta.abs().max().item(), change, len(about)


results = {}
for name, activation in {"LeakyReLU(0.25)": nn.LeakyReLU(0.25), "PReLU(1)": nn.PReLU(), "PReLU(8)": nn.PReLU(8)}.items():
    results[name] = deltas(activation)
    print(f"{name:16} {results[name][0]:.3f} of {results[name][1]:.3f}, warnings about it: {results[name][2]}")
assert results["LeakyReLU(0.25)"][0] < 1e-5
for name in ("PReLU(1)", "PReLU(8)"):
    delta, change, about = results[name]
    assert delta > 0.05 * change and about == 0, name
print("the finding holds")
PYTHON
"$folder/venv/bin/python" check.py 2> err.txt || { cat err.txt; exit 1; }
