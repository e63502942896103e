// The loops for x86-64 processors with AVX2 (2013 and later).
#include <limits>

#include "kernels.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
// After the headers: what they define inline must not be compiled for this processor alone.
#pragma GCC target("avx2,fma")

namespace slopewise::avx2 {
namespace {
#include "loops.h"
} // namespace

Capability capability() { return all_kernels("avx2"); }
} // namespace slopewise::avx2
#endif
