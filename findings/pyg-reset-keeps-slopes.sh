#!/usr/bin/env bash
# Versions:   torch_geometric 2.8.1, torch 2.13.0, numpy 2.4.6
# Guess:      A network of torch_geometric that is built with act="prelu" has a PReLU of its own in each layer, as it
#             has a norm, and reset_parameters(), "Resets all learnable parameters of the module", resets slopes too.
# Behaviour:  One PReLU serves all layers (in GIN also those inside the convolutions), and reset_parameters() leaves it
#             as training has left it: after a reset the next fold of a cross-validation starts with the slopes of the
#             fold before. DeepGCNLayer, which is given a PReLU, does not reset it either.
# Output:     (every parameter set to 7, then reset; what is still 7)
#             MLP           PReLUs: 1, called 3 times; not reset: act.weight
#             GCN           PReLUs: 1, called 3 times; not reset: act.weight
#             GIN           PReLUs: 1, called 7 times; not reset: act.weight
#             DeepGCNLayer  PReLUs: 1, called 1 times; not reset: act.weight
# For users:  Whoever compares PReLU with ReLU in graph networks and resets them between folds or seeds. Build the
#             network again, or call reset_parameters() of each PReLU (docs/layers.md).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch_geometric==2.8.1 torch==2.13.0 numpy==2.4.6
cd "$folder"
cat > check.py <<'PYTHON'
import torch
from torch import nn
from torch_geometric.nn import GCN, GIN, MLP, DeepGCNLayer, GCNConv

NODES, EDGES = torch.randn(5, 8), torch.tensor([[0, 1, 2, 3, 4], [1, 2, 3, 4, 0]])
NETWORKS = {
    "MLP": MLP([8, 16, 16, 16, 2], act="prelu"),
    "GCN": GCN(8, 16, num_layers=4, out_channels=2, act="prelu"),
    "GIN": GIN(8, 16, num_layers=4, out_channels=2, act="prelu"),
    "DeepGCNLayer": DeepGCNLayer(GCNConv(8, 8), nn.BatchNorm1d(8), nn.PReLU(8)),
}
for name, network in NETWORKS.items():
    prelus = [module for module in network.modules() if isinstance(module, nn.PReLU)]
    calls = []
    for prelu in prelus:
        prelu.register_forward_hook(lambda *_, calls=calls: calls.append(1))
    network(NODES) if name == "MLP" else network(NODES, EDGES)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(7.0)
    network.reset_parameters()
    kept = [key for key, parameter in network.named_parameters() if (parameter == 7).all()]
    print(f"{name:<13} PReLUs: {len(prelus)}, called {len(calls)} times; not reset: {', '.join(kept)}")
    assert len(prelus) == 1 and kept == ["act.weight"], name
    assert len(calls) == {"MLP": 3, "GCN": 3, "GIN": 7, "DeepGCNLayer": 1}[name], name
prelu = nn.PReLU()
nn.init.constant_(prelu.weight, 7.0)
prelu.reset_parameters()
assert prelu.weight.item() == 0.25, "torch's own PReLU can be reset"
print("the finding holds")
PYTHON
"$folder/venv/bin/python" check.py
