"""Paragraph printed before the first trial: the data, the trials, and the power of the study."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from slopewise.analysis import seeds_floor, smallest_detectable
from slopewise.drawing import count
from slopewise.events import Prepared
from slopewise.records import control_among
from slopewise.report.study._looks import looks_words
from slopewise.report.study.info._origin import augmentation_words

_LONGEST = 128  # pixels of the longer side of an image size that is proposed
_NAMED = 5  # classes that are named; further ones are left out
_GAIN = 0.9  # fraction of a step's time at which another memory format is proposed
_EVALUATION = 1.3  # time of a trial, with its evaluations, over the time of its training steps


def outlook(prepared: Prepared) -> str:
    """Return a paragraph about the data that were read, the trials to run, and the effect that they can show.

    Example:
        >>> facts = {"name": "digits", "shape": [1, 8, 8], "classes": ["0", "1"], "test_images": 60}
        >>> facts |= {"train_and_validation_images": 300}
        >>> augmentation = {"shift": 1, "flip": False, "erase": 0.0}
        >>> spec = {"arms": [{"name": "relu"}, {"name": "elu"}], "control": "relu", "seeds": list(range(6))}
        >>> spec |= {"data": {"source": "digits"}, "model": {"name": "cnn"}}
        >>> spec |= {"train": {"epochs": 5, "batch_size": 50}, "hardware": {"accelerator": "cpu", "threads": 1}}
        >>> spec["data"]["validation_fraction"] = 0.15
        >>> print(outlook(Prepared(facts, spec, augmentation, trials=12, side_by_side=2, seconds_per_step=0.5)))
        digits: 300 images to train and validate on, 60 to test on, of 2 classes (0, 1), each 1 x 8 x 8 (channels, \
height, width). Augmentation: shifts of up to 1 pixel. 12 trials of cnn, 5 epochs of 5 steps each, on the CPU, 2 at a \
time: about 2 minutes. 6 seeds show a difference of 1.9 times its own spread from seed to seed in 4 of 5 studies.
    """
    augmentation = augmentation_words(prepared.augmentation) if prepared.augmentation else ""
    parts = [_data(prepared), augmentation, _trials(prepared), _seeds(prepared)]
    if prepared.channels_last and prepared.channels_last <= _GAIN:
        parts.append(
            f"In channels last a step takes {prepared.channels_last:.2f} times as long: "
            "--set model.memory_format=channels_last."
        )
    if prepared.idle:
        kind = prepared.idle.partition(" ")[0]
        parts.append(f"The accelerator {prepared.idle} stays idle: --set hardware.accelerator={kind} trains on it.")
    return " ".join(part for part in parts if part)


def _data(prepared: Prepared) -> str:
    facts = prepared.facts
    if "shape" not in facts:  # a training function reads its own
        return ""
    data = prepared.spec["data"]
    names = [str(name) for name in facts["classes"]]
    named = ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
    source = data.get("path") or facts["name"]
    kind = facts.get("targets", "labels")
    number = {"multilabel": count(len(names), "label"), "values": count(len(names), "value")}
    of = f", of {number.get(kind, f'{len(names)} classes')} ({named})" if names else ""
    size, target = (" x ".join(map(str, facts.get(key, ()))) for key in ("shape", "target_shape"))
    axes = "channels, height, width" if len(facts["shape"]) == 3 else "channels, depth, height, width"
    targets = f", with targets of {target}" if kind == "images" else ""
    reading = f" Read from {facts['reading']}." if facts.get("reading") else ""
    return (
        f"{source}: {facts['train_and_validation_images']:,} images to train and validate on, "
        f"{facts['test_images']:,} to test on{of}, each {size} ({axes}){targets}.{reading}"
        f"{_resizing(facts)}"
    )


def _resizing(facts: Mapping[str, Any]) -> str:
    """Return a sentence about pictures that are resized, and the flag that keeps their shape; "" if none are."""
    pictures = facts.get("pictures")
    own = facts["shape"][1:]
    if not pictures or (pictures["usual_size"] == own and not pictures["reshaped"]):
        return ""
    usual, size = (" x ".join(map(str, axes)) for axes in (pictures["usual_size"], own))
    scale = min(1.0, _LONGEST / max(pictures["usual_size"]))
    flag = f"--image-size {'x'.join(str(max(1, round(scale * side))) for side in pictures['usual_size'])}"
    change = f", which changes the shape of {pictures['reshaped']:,}: {flag} keeps it" if pictures["reshaped"] else ""
    kept = f": {flag} {'leaves them as they are' if scale == 1 else 'keeps more of them'}"
    return f" Pictures of mostly {usual} pixels (height, width) become {size}{change or kept}."


def _trials(prepared: Prepared) -> str:
    if not prepared.trials:
        return "All trials have ended."
    train, hardware = prepared.spec["train"], prepared.spec["hardware"]
    most = bool(prepared.spec.get("until_decided"))
    number = f"{'At most ' if most else ''}{count(prepared.trials, 'trial')}"
    if function := train.get("function"):
        metrics = ", ".join(f"{metric['name']} ({metric['better']} is better)" for metric in prepared.spec["metrics"])
        trials = f"{number} of {function}, {prepared.side_by_side} at a time"
        return f"{trials}, each of which returns {metrics}."
    images = round(prepared.facts["train_and_validation_images"] * (1 - prepared.spec["data"]["validation_fraction"]))
    steps = images // min(train["batch_size"], images)
    each = train["epochs"] if prepared.epochs is None else prepared.epochs / prepared.trials
    epochs = count(train["epochs"], "epoch") if each == train["epochs"] else f"on average {each:.3g} epochs"
    where = _where(prepared.device, hardware["accelerator"])
    text = (
        f"{number} of {prepared.spec['model']['name']}, {epochs} of "
        f"{count(steps, 'step')} each, on {where}, {prepared.side_by_side} at a time"
    )
    if prepared.seconds_per_step is None:
        return f"{text}{f' ({prepared.unknown_pace})' if prepared.unknown_pace else ''}."
    rounds = math.ceil(prepared.trials / prepared.side_by_side)
    seconds = _EVALUATION * rounds * each * steps * prepared.seconds_per_step
    return f"{text}: {'at most ' if most else ''}about {_time(seconds)}."


def _where(device: str | None, asked: str) -> str:
    """Return the device of the trials in words, and what `auto` has found."""
    device = device or asked
    named = "the CPU" if device == "cpu" else device
    return f"{named} ({'no GPU was found' if device == 'cpu' else 'found'})" if asked == "auto" != device else named


def _time(seconds: float) -> str:
    if seconds < 90:
        return count(max(10, 10 * round(seconds / 10)), "second")
    if seconds < 90 * 60:
        return count(round(seconds / 60), "minute")
    hours = seconds / 3600
    return f"{hours:.1f} hours" if hours < 10 else count(round(hours), "hour")


def _seeds(prepared: Prepared) -> str:
    seeds, tests = len(prepared.spec["seeds"]), _contrasts(prepared.spec)
    if not tests:
        return ""
    if adaptive := prepared.spec.get("until_decided"):
        return f"{looks_words(adaptive['looks'])} {_shown(seeds, tests)}"
    return _shown(seeds, tests)


def _contrasts(spec: Mapping[str, Any]) -> int:
    """Return the number of arms that are compared with a control."""
    arms, control = spec["arms"], spec["control"]
    controls = {control, *(control_among(arms, control, arm["name"]) for arm in arms)}
    return sum(arm["name"] not in controls for arm in arms)


def _shown(seeds: int, tests: int) -> str:
    """Return a sentence about the difference that this number of seeds can show."""
    if (effect := smallest_detectable(seeds, 1.0, tests)) is None:
        return f"{count(seeds, 'seed')} cannot be sure to show any effect; use at least {seeds_floor(tests)}."
    return f"{seeds} seeds show a difference of {effect:.1f} times its own spread from seed to seed in 4 of 5 studies."
