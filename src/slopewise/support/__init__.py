"""Helpers without torch that every room uses: lazy public names, and text of users made fit to show."""

from slopewise.support._deprecated import deprecated as deprecated
from slopewise.support._deprecated import old_order as old_order
from slopewise.support._files import unused as unused
from slopewise.support._lazy import importer as importer
from slopewise.support._lazy import need as need
from slopewise.support._once import need_not_warn as need_not_warn
from slopewise.support._once import warn_once as warn_once
from slopewise.support._registry import Registry as Registry
from slopewise.support._shipped import distinct as distinct
from slopewise.support._shipped import shipped_classes as shipped_classes
from slopewise.support._table import grouped as grouped
from slopewise.support._table import section as section
from slopewise.support._table import table as table
from slopewise.support._text import printable as printable
from slopewise.support._text import printed as printed
from slopewise.support._text import quoted as quoted
from slopewise.support._text import shortened as shortened
