"""Put PReLU into an existing model, prove what that changed, and fold it back for deployment.

`convert`, in the order in which data flow through the files:

- `_normalise` brings a copy of the model into the normal form (`_normal`), in which each call site of an activation is
  a module: `_separate` copies modules with several call sites, `_functions` makes functions modules, and `_rewrite`
  edits the forward passes around them, in their source (`_source`) or by their graph (`_graph`), as new methods
  (`_rewritten`).
- `_bypassed` and `_units` find the call sites that can be converted, and their channels.
- `_install` checks them against an oracle (`_spread`, `_oracle`, `_places`), fills them with modules (`_factory`), and
  fuses these with batch normalisation (`_fuse`, `_fuse_subclass`).
- `_proof` compares the result with the model given; `_conversion` holds it, `_table` prints it, `_original` translates
  state dicts of the model given.

`fold` goes the other way: `_norms` and `_fixed` recognise normalisation by fixed numbers, `_fold_norm` puts it into the
layers before, `_settle` replaces PReLUs whose slopes have settled, `_measured` measures each step, `_folding` holds and
prints the result. Both use `_swap` to replace modules.
"""

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
