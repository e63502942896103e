"""Notes of a monitor that has seen nothing."""

BLIND = (
    "no forward pass of the model was seen in a sampled step: it is compiled, or called by another way than model(...)"
)
REPLACED = (
    "the model's parameters are others than when the monitor was made (fully_shard replaces them), so that no "
    "optimizer steps those: make the monitor afterwards"
)
