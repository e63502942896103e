// Which of the compiled loops this processor runs.
#include <torch/csrc/stable/library.h>

#include <cstdlib>
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

static bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

static bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

// SLOPEWISE_CPU_CAPABILITY=avx2 or =baseline asks for less than there is: all give the same bits, and a test shows it.
static Capability best() {
  const char* asked = std::getenv("SLOPEWISE_CPU_CAPABILITY");
  const std::string limit = asked ? asked : "avx512";
  __builtin_cpu_init();
  if (limit == "avx512" && has_avx512()) return avx512::capability();
  if (limit != "baseline" && has_avx2()) return avx2::capability();
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
