"""Folders of studies whose users name none."""

from __future__ import annotations

import re
from hashlib import sha256
from itertools import count
from pathlib import Path

from slopewise.study._spec import StudySpec
from slopewise.study._store import is_url

_LONGEST = 40  # characters of the data's name, and of the model's


def default_folder(spec: StudySpec) -> Path:
    """Return the folder of a study whose user names none, after its data and its model or training function.

    Example:
        >>> default_folder(StudySpec()).name
        'study-digits-cnn'
        >>> default_folder(StudySpec(data={"source": "tags.npz"}, model={"name": "mynet:Net"})).name
        'study-tags-mynet-Net'
        >>> psnr = {"name": "psnr", "better": "higher"}
        >>> default_folder(StudySpec(train={"function": "mytrain:train"}, metrics=[psnr])).name
        'study-mytrain-train'
    """
    if spec.train.function:
        return Path(f"study-{_plain(spec.train.function)}")
    data = _name_of(Path(spec.data.path)) if spec.data.path else spec.data.source
    return Path(f"study-{_plain(data)}-{_plain(spec.model.name)}")


def another_folder(place: str | Path) -> str:
    """Return the advice to take another folder than that of a study, with the name of one that is not there yet.

    Example:
        >>> another_folder("nowhere/study-digits-cnn")
        'choose another folder, as in --out nowhere/study-digits-cnn-2'
    """
    if is_url(str(place)):
        return "choose another folder"
    folder = Path(place)
    free = next(path for number in count(2) if not (path := folder.with_name(f"{folder.name}-{number}")).exists())
    return f"choose another folder, as in --out {free}"


def _name_of(path: Path) -> str:
    path = path.expanduser().resolve()
    return path.stem if path.is_file() or path.suffix == ".npz" else path.name


def _plain(name: str) -> str:
    """Return a name in characters that need no quotes in a shell; a hash keeps apart names that would become equal."""
    plain = re.sub(r"[^A-Za-z0-9._]+", "-", name).strip("-.")
    if len(plain) > _LONGEST or not plain or re.search(r"[^\w.:/ -]", name, re.ASCII):
        exact = name.encode(errors="surrogatepass")  # names of files need not be Unicode
        return f"{plain[:_LONGEST]}-{sha256(exact).hexdigest()[:6]}".lstrip("-")
    return plain
