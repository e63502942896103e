"""Resources that one trial takes, from which an engine computes the number of trials that it can run at a time."""

from __future__ import annotations

from dataclasses import dataclass

from slopewise.study._spec import StudySpec


@dataclass(frozen=True)
class Needs:
    """Resources of one trial.

    Attributes:
        cores: Processor cores: one for each torch thread of each of its processes.
        accelerators: Devices other than the processor. Small networks can share one, if an engine allows it.
    """

    cores: int
    accelerators: int

    @classmethod
    def of(cls, spec: StudySpec) -> Needs:
        """Return the resources that a trial of this spec takes.

        Example:
            >>> from slopewise.study import StudySpec
            >>> Needs.of(StudySpec(hardware={"threads": 2, "devices": 2, "strategy": "ddp_spawn"}))
            Needs(cores=4, accelerators=0)
        """
        hardware = spec.hardware
        return cls(hardware.threads * hardware.devices, 0 if _on_cpu(hardware.accelerator) else hardware.devices)


def _on_cpu(accelerator: str) -> bool:
    if accelerator != "auto":
        return accelerator == "cpu"
    import torch  # only here: the command line does not wait for it

    return not torch.accelerator.is_available()
