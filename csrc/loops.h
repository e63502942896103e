// The loops themselves. Included once by each file of an instruction set, after its compiler options, within its own
// namespace: there is no include guard, and nothing here may be visible to another file.
//
// They are plain loops that the compiler vectorises: no branch on an element's value, no aliasing, no reassociation.

template <class T>
inline Compute<T> load(T value) {
  return value;
}

template <>
inline float load(BFloat16 value) {
  return __builtin_bit_cast(float, static_cast<uint32_t>(value.bits) << 16);
}

template <class T>
inline T store(Compute<T> value) {
  return value;
}

// To the nearest, ties to even, as PyTorch rounds; any NaN becomes the quiet one.
template <>
inline BFloat16 store<BFloat16>(float value) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, value);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  return {static_cast<uint16_t>(value != value ? 0x7fc0u : rounded)};
}

template <bool kUniform, class A>
inline A at(const A* period, int64_t lane) {
  return period[kUniform ? 0 : lane];
}

// A NaN stays, whichever of the two it is. No short cut: it would be a branch.
template <class A>
inline A larger(A value, A so_far) {
  return (value > so_far) | (value != value) ? value : so_far;
}

// Asks for the memory that a stream of reads comes to next: the processor's own prefetcher stops at every page.
template <class T>
inline __attribute__((always_inline)) void fetch_ahead(const T* stream, int64_t elements) {
  constexpr int64_t kDistance = 4096, kLine = 64; // bytes
  const char* next = reinterpret_cast<const char*>(stream) + kDistance;
  const int64_t bytes = elements * static_cast<int64_t>(sizeof(T));
  for (int64_t byte = 0; byte < bytes; byte += kLine) __builtin_prefetch(next + byte);
}

// Calls body(element, lane) over a stretch, period by period. `streams` are what it reads from memory.
template <class Body, class... T>
inline __attribute__((always_inline)) void each_of(
    int64_t size, int64_t width, const Body& body, const T*... streams) {
  int64_t start = 0;
  for (; start + width <= size; start += width) {
    (fetch_ahead(streams + start, width), ...);
#pragma GCC ivdep
    for (int64_t lane = 0; lane < width; ++lane) body(start + lane, lane);
  }
#pragma GCC ivdep
  for (int64_t lane = 0; lane < size - start; ++lane) body(start + lane, lane);
}

// The usual width is known to the compiler, which then keeps a period's sums and parameters in registers.
template <bool kUniform, class Body, class... T>
inline __attribute__((always_inline)) void each(
    int64_t size, int64_t width, const Body& body, const T*... streams) {
  if (kUniform || width == kUsualWidth) {
    each_of(size, kUsualWidth, body, streams...);
  } else {
    each_of(size, width, body, streams...);
  }
}

template <class T, bool kUniform>
void prelu(const PReLUStretch<T>& s, const T* __restrict input, T* __restrict output) {
  using A = Compute<T>;
  const A* __restrict slope = s.slope;
  each<kUniform>(s.size, s.width, [&](int64_t i, int64_t lane) {
    const A x = load(input[i]);
    const A below = at<kUniform>(slope, lane) * x;
    output[i] = store<T>(x > 0 ? x : below);
  }, input);
}

template <class T, bool kUniform>
void prelu_backward(
    const PReLUStretch<T>& s, const T* __restrict grad, const T* __restrict input, T* __restrict grad_input,
    Compute<T>* __restrict sums) {
  using A = Compute<T>;
  const A* __restrict slope = s.slope;
  each<kUniform>(s.size, s.width, [&](int64_t i, int64_t lane) {
    const A x = load(input[i]), g = load(grad[i]);
    const A below = at<kUniform>(slope, lane) * g;
    const A product = g * x;
    grad_input[i] = store<T>(x > 0 ? g : below);
    sums[lane] += x > 0 ? A(0) : product;
  }, grad, input);
}

template <class T>
void sum(int64_t size, int64_t width, const T* __restrict input, Compute<T>* __restrict sums) {
  each<false>(size, width, [&](int64_t i, int64_t lane) { sums[lane] += load(input[i]); }, input);
}

template <class T, bool kUniform, bool kCentred>
void squares(
    int64_t size, int64_t width, const T* __restrict input, const Compute<T>* __restrict mean,
    Compute<T>* __restrict sums) {
  using A = Compute<T>;
  const auto add = [&](int64_t i, int64_t lane) {
    const A x = load(input[i]);
    const A deviation = kCentred ? x - at<kUniform>(mean, lane) : x;
    sums[lane] += deviation * deviation;
  };
  if constexpr (kCentred) each<kUniform>(size, width, add); // whoever has the mean has the input in the cache
  else each<kUniform>(size, width, add, input);
}

template <class T>
void magnitudes(int64_t size, int64_t width, const T* __restrict input, Compute<T>* __restrict sums) {
  using A = Compute<T>;
  each<false>(size, width, [&](int64_t i, int64_t lane) {
    const A x = load(input[i]);
    sums[lane] += x < 0 ? -x : x;
  }, input);
}

template <class T>
void signs(int64_t size, int64_t width, const T* __restrict input, Compute<T>* __restrict sums) {
  using A = Compute<T>;
  A* __restrict positive = sums;
  A* __restrict broken = sums + width;
  each<false>(size, width, [&](int64_t i, int64_t lane) {
    const A x = load(input[i]);
    positive[lane] += x > 0 ? A(1) : A(0);
    broken[lane] += x - x;
  }, input);
}

template <class T>
void split_squares(
    int64_t size, int64_t width, const T* __restrict source, const T* __restrict grad, Compute<T>* __restrict sums) {
  using A = Compute<T>;
  A* __restrict square_above = sums;
  A* __restrict above = sums + width;
  A* __restrict square_below = sums + 2 * width;
  A* __restrict below = sums + 3 * width;
  each<false>(size, width, [&](int64_t i, int64_t lane) {
    const A z = load(source[i]), g = load(grad[i]);
    const A square = g * g, magnitude = g < 0 ? -g : g;
    square_above[lane] += z > 0 ? square : A(0);
    above[lane] += z > 0 ? magnitude : A(0);
    square_below[lane] += z > 0 ? A(0) : square;
    below[lane] += z > 0 ? A(0) : magnitude;
  }, source, grad);
}

template <class T, bool kUniform, bool kResidual>
void norm_prelu(
    const NormStretch<T>& s, const T* __restrict input, T* __restrict output, Compute<T>* __restrict largest) {
  using A = Compute<T>;
  const A* __restrict slope = s.slope;
  const A* __restrict mean = s.mean;
  const A* __restrict scale = s.scale;
  const A* __restrict shift = s.shift;
  const T* __restrict residual = s.residual;
  each<kUniform>(s.size, s.width, [&](int64_t i, int64_t lane) {
    A z = (load(input[i]) - at<kUniform>(mean, lane)) * at<kUniform>(scale, lane) + at<kUniform>(shift, lane);
    if constexpr (kResidual) {
      const A r = load(residual[i]);
      const A magnitude = r < 0 ? -r : r;
      largest[lane] = larger(magnitude, largest[lane]);
      z += r;
    }
    const A below = at<kUniform>(slope, lane) * z;
    output[i] = store<T>(z > 0 ? z : below);
  }, input, kResidual ? residual : input);
}

template <class T>
struct Point {
  Compute<T> z, centred;
  Compute<T> sign; // above 0 where z is
};

template <class T, bool kUniform, bool kResidual, bool kInverted>
inline __attribute__((always_inline)) Point<T> point(
    const NormGradStretch<T>& s, T source, Compute<T> residual, int64_t lane) {
  using A = Compute<T>;
  const A value = load(source);
  if constexpr (kInverted) {
    const A above = value * at<kUniform>(s.inverse_slope, lane);
    const A z = value > 0 ? value : above;
    return {z, (kResidual ? z - residual : z) - at<kUniform>(s.shift, lane), value};
  } else {
    const A centred = value - at<kUniform>(s.mean, lane);
    const A z = centred * at<kUniform>(s.scale, lane) + at<kUniform>(s.shift, lane);
    const A summed = kResidual ? z + residual : z;
    return {summed, centred, summed};
  }
}

template <class T, bool kUniform, bool kResidual, bool kInverted>
void norm_prelu_reduce(
    const NormGradStretch<T>& stretch, const T* __restrict grad, const T* __restrict source,
    T* __restrict grad_residual, Compute<T>* __restrict sums) {
  using A = Compute<T>;
  const NormGradStretch<T> s = stretch; // a copy: nothing can alias it
  const T* __restrict residual = s.residual;
  const int64_t width = kUniform ? kUsualWidth : s.width;
  A* __restrict plain = sums;
  A* __restrict projected = sums + width;
  A* __restrict below_zero = sums + 2 * width;
  each<kUniform>(s.size, s.width, [&](int64_t i, int64_t lane) {
    const A g = load(grad[i]);
    const auto p = point<T, kUniform, kResidual, kInverted>(s, source[i], kResidual ? load(residual[i]) : A(0), lane);
    const A below = at<kUniform>(s.slope, lane) * g;
    const A product = g * p.z;
    const A grad_z = p.sign > 0 ? g : below;
    plain[lane] += grad_z;
    projected[lane] += grad_z * p.centred;
    below_zero[lane] += p.sign > 0 ? A(0) : product;
    if constexpr (kResidual) grad_residual[i] = store<T>(grad_z);
  }, grad, source, kResidual ? residual : grad);
}

template <class T, bool kUniform, bool kResidual, bool kInverted>
void norm_prelu_backward(
    const NormGradStretch<T>& stretch, const T* __restrict grad, const T* __restrict source, T* __restrict grad_input,
    const Compute<T>* __restrict factor, const Compute<T>* __restrict offset, const Compute<T>* __restrict projection) {
  using A = Compute<T>;
  const NormGradStretch<T> s = stretch;
  const T* __restrict residual = s.residual;
  each<kUniform>(s.size, s.width, [&](int64_t i, int64_t lane) {
    const A g = load(grad[i]);
    // The residual matters to `centred` only where it has to be taken out of z again.
    const A r = kResidual && kInverted ? load(residual[i]) : A(0);
    const auto p = point<T, kUniform, kResidual && kInverted, kInverted>(s, source[i], r, lane);
    const A below = at<kUniform>(s.slope, lane) * g;
    const A grad_z = kResidual || p.sign > 0 ? g : below;
    // Nothing is projected in evaluation, where an infinite input must not make 0 * infinity of that.
    const A along = at<kUniform>(projection, lane), product = p.centred * along;
    const A rest = grad_z - at<kUniform>(offset, lane) - (along != 0 ? product : A(0));
    grad_input[i] = store<T>(at<kUniform>(factor, lane) * rest);
  }, grad, source);
}

// From flags known at run time to the loop compiled for them.
template <class T>
Kernels<T> kernels() {
  using A = Compute<T>;
  Kernels<T> table;
  table.prelu = [](const PReLUStretch<T>& s, const T* input, T* output) {
    (s.uniform ? prelu<T, true> : prelu<T, false>)(s, input, output);
  };
  table.prelu_backward = [](const PReLUStretch<T>& s, const T* grad, const T* input, T* grad_input, A* sums) {
    (s.uniform ? prelu_backward<T, true> : prelu_backward<T, false>)(s, grad, input, grad_input, sums);
  };
  table.sum = sum<T>;
  table.squares = [](int64_t size, int64_t width, bool uniform, const T* input, const A* mean, A* sums) {
    const auto centred = uniform ? squares<T, true, true> : squares<T, false, true>;
    (mean ? centred : squares<T, false, false>)(size, width, input, mean, sums);
  };
  table.magnitudes = magnitudes<T>;
  table.signs = signs<T>;
  table.split_squares = split_squares<T>;
  table.norm_prelu = [](const NormStretch<T>& s, const T* input, T* output, A* largest) {
    const auto with = s.uniform ? norm_prelu<T, true, true> : norm_prelu<T, false, true>;
    const auto without = s.uniform ? norm_prelu<T, true, false> : norm_prelu<T, false, false>;
    (s.residual ? with : without)(s, input, output, largest);
  };
  table.norm_prelu_reduce =
      [](const NormGradStretch<T>& s, const T* grad, const T* source, T* grad_residual, A* sums) {
        constexpr decltype(Kernels<T>::norm_prelu_reduce) choices[] = {
            norm_prelu_reduce<T, false, false, false>, norm_prelu_reduce<T, false, false, true>,
            norm_prelu_reduce<T, false, true, false>,  norm_prelu_reduce<T, false, true, true>,
            norm_prelu_reduce<T, true, false, false>,  norm_prelu_reduce<T, true, false, true>,
            norm_prelu_reduce<T, true, true, false>,   norm_prelu_reduce<T, true, true, true>};
        choices[4 * s.uniform + 2 * (s.residual != nullptr) + s.inverted](s, grad, source, grad_residual, sums);
      };
  table.norm_prelu_backward = [](const NormGradStretch<T>& s, const T* grad, const T* source, T* grad_input,
                                 const A* factor, const A* offset, const A* projection) {
    constexpr decltype(Kernels<T>::norm_prelu_backward) choices[] = {
        norm_prelu_backward<T, false, false, false>, norm_prelu_backward<T, false, false, true>,
        norm_prelu_backward<T, false, true, false>,  norm_prelu_backward<T, false, true, true>,
        norm_prelu_backward<T, true, false, false>,  norm_prelu_backward<T, true, false, true>,
        norm_prelu_backward<T, true, true, false>,   norm_prelu_backward<T, true, true, true>};
    choices[4 * s.uniform + 2 * (s.residual != nullptr) + s.inverted](
        s, grad, source, grad_input, factor, offset, projection);
  };
  return table;
}

inline Capability all_kernels(const char* name) {
  return {name, kernels<float>(), kernels<BFloat16>(), kernels<double>()};
}
