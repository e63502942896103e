// Which of the compiled loops this processor runs.
#include <torch/csrc/stable/library.h>

#include <string>

#include "kernels.h"

namespace slopewise {

namespace baseline {
Capability capability();
}

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
namespace avx2 {
Capability capability();
}
namespace avx512 {
Capability capability();
}

static Capability best() {
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    return avx512::capability();
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return avx2::capability();
  return baseline::capability();
}
#else
static Capability best() { return baseline::capability(); }
#endif

const Capability& capability() {
  static const Capability chosen = best();
  return chosen;
}

static std::string cpu_capability() { return capability().name; }

} // namespace slopewise

STABLE_TORCH_LIBRARY_IMPL(slopewise, CompositeExplicitAutograd, m) {
  m.impl("cpu_capability", TORCH_BOX(&slopewise::cpu_capability));
}
