// What the compiled loops of one instruction set offer to the operators: plain functions over one stretch of memory.
//
// A stretch is a run of elements, contiguous in memory. Each of its channels' parameters comes as a "period": entry j
// of a parameter array belongs to elements j, j + width, j + 2 * width, ... so that one loop serves channels-last
// memory (a period is some rows) and, with `uniform`, a stretch within a single channel (entry 0 belongs to all).
// Sums are left in `width` lanes, element i added to lane i % width in rising order: the caller folds them.
#pragma once

#include <cstdint>
#include <type_traits>

namespace slopewise {

struct BFloat16 {
  uint16_t bits;
};

// What a stored type is computed in, and summed in over one stretch; sums over stretches are double.
template <class T>
using Compute = std::conditional_t<std::is_same_v<T, double>, double, float>;

// The width of uniform stretches, and of periods that divide it.
constexpr int64_t kUsualWidth = 64;

template <class T>
struct PReLUStretch {
  int64_t size;
  int64_t width;
  bool uniform;
  const Compute<T>* slope;
};

// The normalisation as z = (x - mean) * scale + shift, plus the residual where there is one.
template <class T>
struct NormStretch {
  int64_t size;
  int64_t width;
  bool uniform;
  const T* residual; // null: none
  const Compute<T>* slope;
  const Compute<T>* mean;
  const Compute<T>* scale;
  const Compute<T>* shift;
};

// Where the source is the output y: z = y > 0 ? y : y * inverse_slope. Elsewhere the source is the input x.
// `centred` below is x - mean, or z - residual - shift: both are the normalised input times a constant of the channel.
template <class T>
struct NormGradStretch : NormStretch<T> {
  bool inverted;
  const Compute<T>* inverse_slope;
};

template <class T>
struct Kernels {
  using A = Compute<T>;

  void (*prelu)(const PReLUStretch<T>&, const T* input, T* output);
  // grad_input = grad * (input > 0 ? 1 : slope); sums += grad * input where input <= 0.
  void (*prelu_backward)(const PReLUStretch<T>&, const T* grad, const T* input, T* grad_input, A* sums);

  void (*sum)(int64_t size, int64_t width, const T* input, A* sums);
  // Of the deviations from the mean or, where that is null, of the values.
  void (*squares)(int64_t size, int64_t width, bool uniform, const T* input, const A* mean, A* sums);
  void (*magnitudes)(int64_t size, int64_t width, const T* input, A* sums);
  // sums: [0] counts the values above 0, [1] turns NaN where one is not finite, else it stays 0.
  void (*signs)(int64_t size, int64_t width, const T* input, A* sums);
  // sums: [0] squares and [1] magnitudes of grad where source > 0; [2], [3] the same of the rest.
  void (*split_squares)(int64_t size, int64_t width, const T* source, const T* grad, A* sums);

  // Also keeps the largest |residual| of each lane in `largest`, where there is a residual.
  void (*norm_prelu)(const NormStretch<T>&, const T* input, T* output, A* largest);
  // grad_z = grad * (z > 0 ? 1 : slope), written to grad_residual where there is a residual;
  // sums: [0] += grad_z, [1] += grad_z * centred, [2] += grad * z where z <= 0; each of `width` lanes.
  void (*norm_prelu_reduce)(const NormGradStretch<T>&, const T* grad, const T* source, T* grad_residual, A* sums);
  // grad_input = factor * (grad_z - offset - centred * projection); `grad` is already grad_z where there is a residual.
  void (*norm_prelu_backward)(
      const NormGradStretch<T>&, const T* grad, const T* source, T* grad_input,
      const A* factor, const A* offset, const A* projection);
};

struct Capability {
  const char* name;
  Kernels<float> float32;
  Kernels<BFloat16> bfloat16;
  Kernels<double> float64;
};

template <class T>
const Kernels<T>& pick(const Capability& capability) {
  if constexpr (std::is_same_v<T, float>) return capability.float32;
  else if constexpr (std::is_same_v<T, BFloat16>) return capability.bfloat16;
  else return capability.float64;
}

// The best that this processor runs, chosen once.
const Capability& capability();

} // namespace slopewise
