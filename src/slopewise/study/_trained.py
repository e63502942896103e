"""Networks of a study with their final weights, where these were kept."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from slopewise.errors import SpecError, StoreError, nearest
from slopewise.events import TrialKey
from slopewise.records import StudyRecord
from slopewise.study._cells import spec_of
from slopewise.study._network import build_empty, network_sizes
from slopewise.study._predictor import Predictor
from slopewise.study._spec import StudySpec
from slopewise.study._spec_input import stored_spec
from slopewise.study._store import Place, place_of, read_study
from slopewise.study._streams import generators_kept
from slopewise.study._workplace import Workplace
from slopewise.study.data import Preparation, read_data
from slopewise.study.tasks import make_task
from slopewise.support import shortened

_REASON = 300  # characters of PyTorch's own error, which may list every weight


def kept_weights(folder: str | os.PathLike[str], record: StudyRecord) -> dict[TrialKey, Path]:
    """Return the files of weights that a study has, by trial, those of all its cells.

    Args:
        folder: Folder of the study.
        record: Its records.

    Raises:
        StoreError: The study is named by the URL of its database, where no weights are.
    """
    place = Workplace(_folder_of(place_of(folder)))
    trials = [TrialKey(trial.arm, trial.seed, trial.cell) for trial in record.every_trial]
    files = {trial: place.in_cell(trial.cell).weights_of(trial.arm, trial.seed) for trial in trials}
    return {trial: file for trial, file in files.items() if file.is_file()}


def load_model(folder: str | os.PathLike[str], arm: str, seed: int, *, cell: str = "") -> nn.Module:
    """Return the network of a trial as it was at the end of its training, in evaluation mode on the CPU.

    The study must have run with `keep_weights` (`slopewise run --keep-weights`). The data of the study are not needed.
    A network of the user's own must be importable as it was for the study: its module lies beside the script, in the
    folder that a shell or notebook runs in, or in one of PYTHONPATH.

    Args:
        folder: Folder of the study.
        arm: Name of the arm.
        seed: Seed of the trial.
        cell: Settings of the trial where they differ from the study's own, as the column `cell` of `slopewise export`
            has them.

    Raises:
        StoreError: There is no such study or trial; the study is named by the URL of its database, and not by its
            folder, where weights are; those of the trial were not kept, or their file is damaged; the network was made
            by a training function of the user's, which alone can build it; or it has changed since it was trained, so
            that the weights do not fit.
        SlopewiseError: The network of the spec cannot be built, or an earlier version began the study, and its data,
            which are then read, cannot be used.

    Example:
        >>> import tempfile
        >>> from slopewise.study import Study
        >>> folder = Path(tempfile.mkdtemp())
        >>> study = Study(arms="relu,prelu_channel", seeds=1, data={"train_size": 100}, train={"epochs": 1})
        >>> _ = study.run(folder, workers=1, keep_weights=True)  # doctest: +SKIP
        >>> load_model(folder, "prelu_channel", seed=0).act1  # doctest: +SKIP
        PReLU(num_parameters=16)
    """
    return _loaded(_trained(folder, TrialKey(arm, seed, cell)))


def load_predictor(folder: str | os.PathLike[str], arm: str, seed: int, *, cell: str = "") -> Predictor:
    """Return the network of a trial, as `load_model` does, with the preparation that its images need.

    Args:
        folder: Folder of the study.
        arm: Name of the arm.
        seed: Seed of the trial.
        cell: Settings of the trial where they differ from the study's own.

    Raises:
        StoreError: As `load_model`; or an earlier version began the study, and its data have changed since.
        SpecError: The task of the study is not classification.
        SlopewiseError: As `load_model`.

    Example:
        >>> predict = load_predictor("study", "prelu_channel", seed=0)  # doctest: +SKIP
        >>> predict(["photo.jpg"])[0].label  # doctest: +SKIP
        'cat'
    """
    trained = _trained(folder, TrialKey(arm, seed, cell))
    if trained.spec.task.kind != "classification":
        raise SpecError(
            f"the task of '{os.fspath(folder)}' is {trained.spec.task.kind}, and only classification predicts a class: "
            "take the network from load_model"
        )
    if trained.facts["digest"] != trained.digest:
        raise StoreError(
            f"'{os.fspath(folder)}' was begun by an earlier version, which stored no mean and deviation of the images, "
            "and its data have changed since, so that they are lost: take the network from load_model, or bring the "
            "data back as they were"
        )
    return Predictor(_loaded(trained), tuple(trained.facts["classes"]), Preparation(trained.facts))


class _Trained(NamedTuple):
    """Trial with its spec, the file of its weights, facts of the data, and the digest of the data of the study."""

    trial: TrialKey
    spec: StudySpec
    weights: Path
    facts: Mapping[str, Any]
    digest: str


def _folder_of(place: Place) -> Path:
    if place.folder is None:
        raise StoreError(
            f"'{place}' is the database of a study, and final weights are in the study's folder: name the folder"
        )
    return place.folder


def _trained(folder: str | os.PathLike[str], trial: TrialKey) -> _Trained:
    place = place_of(folder)
    home = _folder_of(place)
    record = read_study(place)
    files = kept_weights(home, record)
    if trial not in files:
        raise StoreError(_why_not(trial, record, files, os.fspath(folder)))
    spec = spec_of(stored_spec(record.spec), trial)
    if spec.train.function:
        raise StoreError(
            f"the network of '{os.fspath(folder)}' is built by {spec.train.function}: build it as there, convert it to "
            f"the arm's activation, and give its load_state_dict torch.load('{files[trial]}', weights_only=True)"
        )
    facts = record.data
    if "network" not in facts:  # earlier versions stored fewer facts
        data = read_data(spec.data, make_task(spec.task).targets)
        facts = data.facts() | {"network": network_sizes(spec, data)}
    return _Trained(trial, spec, files[trial], facts, record.data.get("digest", ""))


def _loaded(trained: _Trained) -> nn.Module:
    trial, spec = trained.trial, trained.spec
    with generators_kept():
        model = build_empty(spec, spec.arm(trial.arm), trial.seed, trained.facts).model
    state = _read(trained.weights)
    try:
        model.load_state_dict(state)
    except Exception as error:  # the user's modules can raise anything
        reason = shortened(" ".join(str(error).split()), _REASON)
        raise StoreError(
            f"the network is no longer the one that the study trained: {reason}. Bring its code back as it was, or "
            f"read '{trained.weights}' with torch.load"
        ) from error
    return model.eval()


def _read(weights: Path) -> Mapping[str, Any]:
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        if not isinstance(state, Mapping):
            raise TypeError(f"it holds a {type(state).__name__}")
    except (FileNotFoundError, PermissionError) as error:
        raise StoreError(f"cannot read weights file '{weights}': {error.strerror}") from error
    except Exception as error:  # bytes that are no checkpoint can raise anything, an OSError as well
        reason = shortened(" ".join(str(error).split()) or type(error).__name__, _REASON)
        raise StoreError(
            f"weights file '{weights}' is damaged ({reason}): take a copy of it from before, or run the study anew in "
            "another folder"
        ) from error
    return state


def _why_not(trial: TrialKey, record: StudyRecord, files: dict[TrialKey, Path], folder: str) -> str:
    if trial.arm not in record.arms:
        return f"'{folder}' has no arm '{trial.arm}'; {nearest(trial.arm, record.arms)}"
    ended = {(other.arm, other.seed, other.cell): other for other in record.every_trial}
    found = ended.get((trial.arm, trial.seed, trial.cell))
    where = f" with {trial.cell}" if trial.cell else ""
    if found is None:
        return f"'{folder}' has no trial of '{trial.arm}' with seed {trial.seed}{where} that has ended"
    if found.diverged:
        return f"the trial of '{trial.arm}' with seed {trial.seed}{where} diverged: its weights were not kept"
    seeds = sorted(other.seed for other in files if (other.arm, other.cell) == (trial.arm, trial.cell))
    have = f"those of seeds {', '.join(map(str, seeds))} were" if seeds else "none of this arm were"
    return (
        f"the weights of '{trial.arm}' with seed {trial.seed}{where} were not kept ({have}): run the study with "
        "--keep-weights, or keep_weights=True, from its beginning"
    )
