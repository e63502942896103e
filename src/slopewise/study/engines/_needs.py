"""Resources that one trial takes, from which an engine computes the number of trials that it can run at a time."""

from __future__ import annotations

from dataclasses import dataclass

from slopewise.study._spec import StudySpec


@dataclass(frozen=True)
class Needs:
    """Resources of one trial, which may be fractions.

    Attributes:
        cores: Processor cores: `hardware.cpus_per_trial`, or one for each torch thread of each of its processes.
        accelerators: Devices other than the processor: `hardware.gpus_per_trial`, or those that it trains on. Small
            networks can share one, if an engine allows it.
    """

    cores: float
    accelerators: float

    @classmethod
    def of(cls, spec: StudySpec) -> Needs:
        """Return the resources that a trial of this spec takes.

        Example:
            >>> from slopewise.study import StudySpec
            >>> Needs.of(StudySpec(hardware={"threads": 2, "devices": 2, "strategy": "ddp_spawn"}))
            Needs(cores=4, accelerators=0)
            >>> Needs.of(StudySpec(hardware={"cpus_per_trial": 0.5, "gpus_per_trial": 0.25}))
            Needs(cores=0.5, accelerators=0.25)
        """
        hardware = spec.hardware
        cores, accelerators = hardware.cpus_per_trial, hardware.gpus_per_trial
        if cores is None:
            cores = hardware.threads * hardware.devices
        if accelerators is None:
            accelerators = 0 if _on_cpu(hardware.accelerator) else hardware.devices
        return cls(cores, accelerators)

    def room(self, cores: float, accelerators: float) -> int:
        """Return the number of trials that so many cores and accelerators are enough for.

        Example:
            >>> Needs(cores=1, accelerators=0.25).room(cores=16, accelerators=2)
            8
        """
        # Tenths have no exact binary fraction: 0.3 / 0.1 is a little less than 3.
        shares = [(cores, self.cores), (accelerators, self.accelerators)]
        return int(min(there / each for there, each in shares if each) + 1e-9)


def _on_cpu(accelerator: str) -> bool:
    if accelerator != "auto":
        return accelerator == "cpu"
    import torch  # only here: the command line does not wait for it

    return not torch.accelerator.is_available()
