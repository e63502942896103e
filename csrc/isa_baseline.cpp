// The loops for any processor of the architecture that the package was built for.
#include <limits>

#include "kernels.h"

namespace slopewise::baseline {
namespace {
#include "loops.h"
} // namespace

Capability capability() { return all_kernels("baseline"); }
} // namespace slopewise::baseline
