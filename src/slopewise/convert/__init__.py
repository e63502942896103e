"""Put PReLU into an existing model, prove what that changed, and fold it back for deployment."""

from slopewise.convert._conversion import Conversion as Conversion
from slopewise.convert._conversion import Site as Site
from slopewise.convert._convert import convert as convert
from slopewise.convert._factory import SiteContext as SiteContext
from slopewise.convert._fold import fold as fold
from slopewise.convert._folding import Folding as Folding
from slopewise.convert._folding import FoldStep as FoldStep
from slopewise.convert._proof import Difference as Difference
from slopewise.convert._proof import Proof as Proof
from slopewise.convert._refusal import Refusal as Refusal
from slopewise.errors import ConversionWarning as ConversionWarning
from slopewise.support import table as table
