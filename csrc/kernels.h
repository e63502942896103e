// What the compiled loops of one instruction set offer to the operators: plain functions over one span of memory.
//
// A span is contiguous. Its channels come in one of two ways:
//
// - In runs, `uniform`: `runs` runs of `size` elements, each within one channel. Entry j of a parameter array belongs to
//   run j, and so does sum j.
// - In periods: `size` elements, where entry j of a parameter array belongs to elements j, j + width, j + 2 * width, ...
//   (in channels-last memory a period is some rows). Sums are added to `width` lanes, and the caller folds them.
//
// Either way element i of a run or span is added to lane i % width in rising order; the loops fold a run's lanes.
#pragma once

#include <cstdint>
#include <type_traits>

namespace slopewise {

struct BFloat16 {
  uint16_t bits;
};

// What a stored type is computed in, and summed in over one run or span; sums over these are double.
template <class T>
using Compute = std::conditional_t<std::is_same_v<T, double>, double, float>;

// The bits of a magnitude, a value without its sign: in the order of the magnitudes, with every NaN above them.
template <class A>
using Bits = std::conditional_t<std::is_same_v<A, double>, int64_t, int32_t>;

// The lanes of a run, and of periods that divide it.
constexpr int64_t kUsualWidth = 64;

// Signs are kept as bits: this many periods share bytes, one for each lane.
constexpr int64_t kBits = 8;

constexpr int64_t sign_bytes(int64_t size, int64_t width) {
  return (size + kBits * width - 1) / (kBits * width) * width;
}

struct Span {
  int64_t size;  // elements of a run if uniform, else of the span
  int64_t runs;  // 1 if not uniform
  int64_t width; // lanes
  int64_t ahead; // bytes from an element to the one that is needed some time later: asked for in advance
  bool uniform;
};

// Where the sums (or largest values) of a span go. Quantity k begins at first + k * stride: one sum for each run, or `width` lanes.
template <class A>
struct Sums {
  A* first;
  int64_t stride;
};

template <class T>
struct PReLUSpan : Span {
  const Compute<T>* slope;
};

// The normalisation as z = (x - mean) * scale + shift, plus the residual where there is one.
template <class T>
struct NormSpan : Span {
  const T* residual; // null: none
  const Compute<T>* slope;
  const Compute<T>* mean;
  const Compute<T>* scale;
  const Compute<T>* shift;
};

// Where the source is the output y: z = y > 0 ? y : y * inverse_slope. Elsewhere the source is the input x.
// `centred` below is x - mean, or z - residual - shift: both are the normalised input times a constant of the channel.
template <class T>
struct NormGradSpan : NormSpan<T> {
  bool inverted;
  const Compute<T>* inverse_slope;
};

template <class T>
struct Kernels {
  using A = Compute<T>;

  void (*prelu)(const PReLUSpan<T>&, const T* input, T* output);
  // grad_input = grad * (input > 0 ? 1 : slope); sums: grad * input where input <= 0.
  void (*prelu_backward)(const PReLUSpan<T>&, const T* grad, const T* input, T* grad_input, Sums<A> sums);

  void (*sum)(const Span&, const T* input, Sums<A> sums);
  // Of the deviations from the mean or, where that is null, of the values.
  void (*squares)(const Span&, const T* input, const A* mean, Sums<A> sums);
  void (*magnitudes)(const Span&, const T* input, Sums<A> sums);
  // sums: [0] counts the values above 0, [1] turns NaN where one is not finite, else it stays 0.
  void (*signs)(const Span&, const T* input, Sums<A> sums);
  void (*nans)(const Span&, const T* input, Sums<A> sums); // how many there are
  // sums: [0] squares and [1] magnitudes of grad where source > 0; [2], [3] the same of the rest.
  void (*split_squares)(const Span&, const T* source, const T* grad, Sums<A> sums);
  // The same as `signs`, and keeps which values are above 0, in sign_bytes() for each run, or for the span.
  void (*signs_kept)(const Span&, const T* input, uint8_t* kept, Sums<A> sums);
  // sums of grad's squares or magnitudes: [0] where the kept sign is above 0, and [1] of the rest, or of all.
  void (*squares_kept)(const Span&, const uint8_t* kept, const T* grad, Sums<A> sums);
  void (*split_squares_kept)(const Span&, const uint8_t* kept, const T* grad, Sums<A> sums);
  void (*split_magnitudes_kept)(const Span&, const uint8_t* kept, const T* grad, Sums<A> sums);

  // Also keeps the largest |residual| of each run or lane in `largest`, where there is a residual.
  void (*norm_prelu)(const NormSpan<T>&, const T* input, T* output, Sums<Bits<A>> largest);
  // grad_z = grad * (z > 0 ? 1 : slope), written to grad_residual where there is a residual;
  // sums: [0] of grad_z, [1] of grad_z * centred, [2] of grad * z where z <= 0.
  void (*norm_prelu_reduce)(
      const NormGradSpan<T>&, const T* grad, const T* source, T* grad_residual, Sums<A> sums);
  // grad_input = factor * (grad_z - offset - centred * projection); `grad` is already grad_z where there is a residual.
  void (*norm_prelu_backward)(
      const NormGradSpan<T>&, const T* grad, const T* source, T* grad_input,
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
