"""The normal form of a model, in which every call site of an activation is a module of its own.

The model computes the same as before. What remains to be done, whatever the new activations are, is to replace modules.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from torch import nn

from slopewise.activations import Activation, Role, activations_in, is_activation, role_of
from slopewise.convert._places import WITH_GRADIENTS, Place, places_in, same_steps
from slopewise.convert._refusal import Refusal
from slopewise.convert._select import Selection
from slopewise.errors import ConversionError
from slopewise.trace import ForwardTrace, Inputs, ModuleCall, OpCall, trace_forward

Names = Mapping[nn.Module, Sequence[str]]


@dataclass
class Normal:
    """A model on its way to the normal form.

    A mode is "training" or "evaluation". Passes are watched without gradients; the pass of a mode with gradients is
    kept as "training, with gradients" if it takes other steps.

    Attributes:
        model: Model that is brought into the normal form in place.
        inputs: Inputs on which the model is run.
        selection: Selection of the activations to convert.
        first_names: Names of every module of the model as it was given.
        flows: Latest watched passes, by mode.
        first: Places of all activations in the passes through the model as it was given, by mode; None for a place
            that cannot be told.
        origins: For modules that stand for functions, the function and the line of its call.
        signs: For the same modules, a note if the sign of their output matters; it cites lines of the original code.
        rewritten: Names of the modules whose forward pass was rewritten, and how and why.
        refusals: Activations that stay as they are.
        stuck: Modules with several call sites that could not be separated.
        copies: For modules that were copied, the module that each was copied from.
        failure: Mode in which the model does not run, with the error; None if it runs in both.
    """

    model: nn.Module
    inputs: Inputs
    selection: Selection
    first_names: dict[nn.Module, list[str]] = field(default_factory=dict)
    flows: dict[str, ForwardTrace] = field(default_factory=dict)
    origins: dict[nn.Module, str] = field(default_factory=dict)
    signs: dict[nn.Module, str] = field(default_factory=dict)
    rewritten: dict[str, str] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    stuck: set[nn.Module] = field(default_factory=set)
    copies: dict[nn.Module, nn.Module] = field(default_factory=dict)
    failure: str | None = None
    first: dict[str, list[Place | None]] = field(default_factory=dict)

    @property
    def modes(self) -> tuple[str, ...]:
        """The modes in which the model runs."""
        return tuple(mode for mode in self.flows if not mode.endswith(WITH_GRADIENTS))

    def observe(self) -> None:
        """Run the model in both modes, and keep the passes.

        Raises:
            ConversionError: The model does not run in the mode that it is in. A failure in the other one is noted.
        """
        own = "training" if self.model.training else "evaluation"
        for mode in sorted(("training", "evaluation"), key=lambda mode: mode != own):
            try:
                self.flows[mode] = trace_forward(self.model, self.inputs, training=mode == "training")
            except Exception as error:  # a user's model can raise anything
                reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
                if mode == own:
                    raise ConversionError(
                        f"the model does not run on example_inputs in {mode} mode: {reason}"
                    ) from error
                self.flows.pop(mode, None)
                self.failure = f"it does not run on the example in {mode} mode ({reason})"
            else:
                self._observe_with_gradients(mode)
        self.first = self.first or {
            key: places_in(flow, list(self.steps(mode=key))) for key, flow in self.flows.items()
        }

    def _observe_with_gradients(self, mode: str) -> None:
        key = mode + WITH_GRADIENTS
        if self.first and key not in self.flows:
            return
        self.flows.pop(key, None)
        try:
            flow = trace_forward(self.model, self.inputs, training=mode == "training", gradients=True)
        except RuntimeError:  # a network for inference alone may overwrite tensors that the backward pass needs
            return
        if not same_steps(flow, self.flows[mode]):
            self.flows[key] = flow

    def origin(self, module: nn.Module) -> nn.Module:
        """Return the module of the model as it was given that a module is, or is a copy of."""
        while module in self.copies:
            module = self.copies[module]
        return module

    def note(self, name: str, how: str) -> None:
        """Add a note about the rewriting of a module, which may take several steps."""
        self.rewritten[name] = f"{self.rewritten[name]}; {how}" if name in self.rewritten else how

    def names(self) -> dict[nn.Module, list[str]]:
        """Return all names of every module."""
        names: defaultdict[nn.Module, list[str]] = defaultdict(list)
        for name, module in self.model.named_modules(remove_duplicate=False):
            names[module].append(name)
        return names

    def takes(self, name: str, step: OpCall | ModuleCall, activation: Activation) -> bool:
        """Return True if an activation is to be converted; `name` is the one that its site has or will have."""
        return self.selects(name, step, activation) and self.role(name, activation) is None

    def role(self, name: str, activation: Activation) -> Role | None:
        """Return the role for which an activation stays although it is selected; None if it does not stay."""
        role = role_of(activation)
        named = self.selection.names(name, activation.kind.name if activation.kind.left else "")
        return None if named and not activation.fixed else role

    def selects(self, name: str, step: OpCall | ModuleCall, activation: Activation) -> bool:
        """Return True if the selection contains an activation."""
        around, call = [activation.module], step.call if isinstance(step, OpCall) else step.parent
        while call is not None:
            around.append(call.module)
            call = call.parent
        return self.selection.takes(name, activation.kind.name, around)

    def steps(self, *, mode: str | None = None) -> Iterator[tuple[OpCall | ModuleCall, Activation]]:
        """Yield every activation that was applied, by a function or a module; in all modes by default."""
        for name, flow in self.flows.items():
            if mode in (None, name):
                yield from (
                    (step, activation) for step, activation in activations_in(flow.root) if is_activation(activation)
                )


def first_name(names: Names, module: nn.Module) -> str:
    """Return the first name of a module; "" for the model itself, and for a module that it does not hold."""
    return next(iter(names.get(module, ())), "")


def join(owner: str, attribute: str) -> str:
    """Return the name of a submodule."""
    return f"{owner}.{attribute}" if owner else attribute
