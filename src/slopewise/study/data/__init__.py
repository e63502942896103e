"""The images of a study: sources by name, and augmentation. `_base` states the contract of a source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slopewise.errors import DataWarning as DataWarning
from slopewise.study.data._named import SOURCES as SOURCES
from slopewise.study.data._named import WITHOUT_PATH as WITHOUT_PATH
from slopewise.study.data._named import Source as Source
from slopewise.study.data._named import register_source as register_source
from slopewise.study.data._named import source_of as source_of
from slopewise.study.data._named import source_of_path as source_of_path
from slopewise.support import importer

if TYPE_CHECKING:
    from slopewise.study.data._augment import Augment as Augment
    from slopewise.study.data._base import ImageData as ImageData
    from slopewise.study.data._base import Images as Images
    from slopewise.study.data._base import RawData as RawData
    from slopewise.study.data._labels import class_numbers as class_numbers
    from slopewise.study.data._layout import channels_first as channels_first
    from slopewise.study.data._layout import find_layout as find_layout
    from slopewise.study.data._load import load_data as load_data
    from slopewise.study.data._load import read_data as read_data
    from slopewise.study.data._preparation import Preparation as Preparation
    from slopewise.study.data._reader import ImageReader as ImageReader
    from slopewise.study.data._stored import StoredImages as StoredImages
    from slopewise.study.data._targets import IGNORED as IGNORED
    from slopewise.study.data._targets import TargetKind as TargetKind
    from slopewise.study.data._targets import Targets as Targets
    from slopewise.study.data._targets import balanced_subset as balanced_subset
    from slopewise.study.data._targets import split as split
    from slopewise.study.data._targets import stratified_split as stratified_split
    from slopewise.study.data._targets import subset as subset

# A spec asks which source a path stands for, before torch is loaded.
__getattr__ = importer(
    __name__,
    {
        "_augment": ("Augment",),
        "_base": ("ImageData", "Images", "RawData"),
        "_labels": ("class_numbers",),
        "_layout": ("channels_first", "find_layout"),
        "_load": ("load_data", "read_data"),
        "_preparation": ("Preparation",),
        "_reader": ("ImageReader",),
        "_stored": ("StoredImages",),
        "_targets": ("IGNORED", "TargetKind", "Targets", "balanced_subset", "split", "stratified_split", "subset"),
    },
)
