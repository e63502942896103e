"""Networks of libraries by name: `transformers:ResNetForImageClassification`, `timm:resnet18`, `torchvision:resnet18`.

Networks are built with random weights, drawn from torch's global generator; nothing is ever downloaded.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from slopewise.errors import ModelError, SpecError, nearest
from slopewise.study._references import describe

Make = Callable[..., nn.Module]


def transformers(name: str, options: dict[str, Any]) -> Make:
    """Return the builder of an image classifier of transformers; `options` are those of its configuration."""
    with _importing("transformers", name):
        library = importlib.import_module("transformers")
        cls = getattr(library, name, None)  # imports the module that defines it
    config = getattr(cls, "config_class", None)
    if cls is None or config is None:
        raise _unknown(
            "transformers", name, [known for known in dir(library) if known.endswith("ForImageClassification")]
        )
    settings = [key for key in vars(config()) if not key.startswith("_")]
    for option in options:
        if option not in settings:  # a configuration keeps whatever it is given
            raise SpecError(f"unknown key 'model.options.{option}' of {config.__name__}; {nearest(option, settings)}")

    def make(num_classes: int, in_channels: int) -> nn.Module:
        channels = {"num_channels": in_channels} if "num_channels" in settings else {}
        return cls(config(**{"num_labels": num_classes, **channels, **options}))  # type: ignore[no-any-return]

    return make


def timm(name: str, options: dict[str, Any]) -> Make:
    """Return the builder of a network of timm; `options` are those of `timm.create_model`."""
    with _importing("timm", name):
        library = importlib.import_module("timm")
    if not library.is_model(name):
        raise _unknown("timm", name, library.list_models())

    def make(num_classes: int, in_channels: int) -> nn.Module:
        arguments = {"num_classes": num_classes, "in_chans": in_channels, **options, "pretrained": False}
        return library.create_model(name, **arguments)  # type: ignore[no-any-return]

    return make


def torchvision(name: str, options: dict[str, Any]) -> Make:
    """Return the builder of a classifier of torchvision, with its options; grey images become three equal channels."""
    with _importing("torchvision", name):
        models = importlib.import_module("torchvision").models
    known = models.list_models(module=models)
    if name not in known:
        raise _unknown("torchvision", name, known)

    def make(num_classes: int, in_channels: int) -> nn.Module:
        if in_channels not in (1, 3):
            raise ModelError(
                f"model 'torchvision:{name}' takes images of 3 channels, or grey ones, not of {in_channels}: name a "
                "function of your own that replaces its first convolution"
            )
        model = models.get_model(name, **{"num_classes": num_classes, **options, "weights": None})
        if in_channels == 1:
            model.register_forward_pre_hook(_grey_as_rgb)
        return model  # type: ignore[no-any-return]

    return make


LIBRARIES: dict[str, Callable[[str, dict[str, Any]], Make]] = {
    library.__name__: library for library in (transformers, timm, torchvision)
}


def _grey_as_rgb(model: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:  # noqa: ARG001 - a hook's signature
    return (args[0].expand(-1, 3, -1, -1), *args[1:])


@contextmanager
def _importing(library: str, name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # a library made for another torch can raise anything while it is imported
        if isinstance(error, ModuleNotFoundError) and error.name and error.name.split(".")[0] == library:
            raise SpecError(f"model '{library}:{name}' needs {library}: pip install {library}") from error
        raise SpecError(f"model '{library}:{name}': cannot import it: {describe(error)}") from error


def _unknown(library: str, name: str, known: Iterable[str]) -> SpecError:
    close = difflib.get_close_matches(name, list(known), n=4, cutoff=0.4)
    return SpecError(
        f"{library} has no model '{name}' for image classification"
        + (f"; near it: {', '.join(close)}" if close else "")
    )
