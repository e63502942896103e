// The loops for x86-64 processors with AVX-512 (F, BW, DQ and VL: servers since 2017, AMD since 2022).
#include <limits>

#include "kernels.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
// After the headers: what they define inline must not be compiled for this processor alone.
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma,prefer-vector-width=512")

namespace slopewise::avx512 {
namespace {
#include "loops.h"
} // namespace

Capability capability() { return all_kernels("avx512"); }
} // namespace slopewise::avx512
#endif
