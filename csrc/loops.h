// The loops themselves. Included once by each file of an instruction set, after its compiler options, within its own
// namespace: there is no include guard, and nothing here may be visible to another file.
//
// They are plain loops that the compiler vectorises: no branch on an element's value, no aliasing, no reassociation. And
// no functions of the standard library: another file might be linked with the code that they become here.

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

// To the nearest, ties to even, as PyTorch rounds. A NaN must not carry into the sign, and does not: those of bfloat16
// inputs, of arithmetic and of parameters (see `Layout::spread`) have no low bits.
template <>
inline BFloat16 store<BFloat16>(float value) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, value);
  return {static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

// A channel's parameter: that of a run, read once, or that of an element's place in its period.
template <bool kUniform, class A>
struct Parameter {
  const A* __restrict period;
  A value;
  Parameter(const A* array, int64_t run) : period(array), value(kUniform ? array[run] : A(0)) {}
  A operator[](int64_t lane) const { return kUniform ? value : period[lane]; }
};

template <class A>
inline Bits<A> magnitude_bits(A value) {
  constexpr Bits<A> kAllButSign = std::numeric_limits<Bits<A>>::max();
  return __builtin_bit_cast(Bits<A>, value) & kAllButSign;
}

// Asks for the memory that a stream of reads comes to next: the processor's own prefetcher stops at every page.
template <class T>
inline __attribute__((always_inline)) void fetch_ahead(const T* stream, int64_t elements, int64_t ahead) {
  constexpr int64_t kLine = 64; // bytes
  const char* next = reinterpret_cast<const char*>(stream) + ahead;
  const int64_t bytes = elements * static_cast<int64_t>(sizeof(T));
  for (int64_t byte = 0; byte < bytes; byte += kLine) __builtin_prefetch(next + byte);
}

// Calls body(element, lane) over a run or a span, period by period. `streams` are what it reads from memory.
template <class Body, class... T>
inline __attribute__((always_inline)) void each_of(
    const Span& span, int64_t width, const Body& body, const T*... streams) {
  const int64_t size = span.size;
  int64_t start = 0;
  for (; start + width <= size; start += width) {
    (fetch_ahead(streams + start, width, span.ahead), ...);
#pragma GCC ivdep
    for (int64_t lane = 0; lane < width; ++lane) body(start + lane, lane);
  }
#pragma GCC ivdep
  for (int64_t lane = 0; lane < size - start; ++lane) body(start + lane, lane);
}

// The usual width is known to the compiler, which then keeps a period's sums and parameters in registers.
template <bool kUniform, class Body, class... T>
inline __attribute__((always_inline)) void each(const Span& span, const Body& body, const T*... streams) {
  if (kUniform || span.width == kUsualWidth) {
    each_of(span, kUsualWidth, body, streams...);
  } else {
    each_of(span, span.width, body, streams...);
  }
}

// How two of a quantity become one. V is a number or a vector of them.
struct Sum {
  template <class V>
  static void join(V& a, const V& b) {
    a += b;
  }
};

struct Largest {
  template <class V>
  static void join(V& a, const V& b) {
    a = b > a ? b : a;
  }
};

// In halves: in one row, every addition would wait for the one before. As vectors, which the compiler would not find.
template <class How, int64_t kCount, class A>
inline __attribute__((always_inline)) A folded(const A* lanes) {
  if constexpr (kCount == 2) {
    A sum = lanes[0];
    How::join(sum, lanes[1]);
    return sum;
  } else {
    typedef A Half __attribute__((vector_size(kCount / 2 * sizeof(A))));
    Half low, high;
    __builtin_memcpy(&low, lanes, sizeof(low));
    __builtin_memcpy(&high, lanes + kCount / 2, sizeof(high));
    How::join(low, high);
    A half[kCount / 2];
    __builtin_memcpy(half, &low, sizeof(low));
    return folded<How, kCount / 2>(half);
  }
}

// Calls body(run, start, lanes) for each run, with lanes of its own for kSums quantities, which are folded into `sums`;
// or once for a span of periods, with the lanes that `sums` gives. `lanes(k)` is where those of quantity k begin.
template <bool kUniform, int64_t kSums, class How = Sum, class A, class Body>
inline __attribute__((always_inline)) void each_run(const Span& span, const Sums<A>& sums, const Body& body) {
  if constexpr (!kUniform) {
    body(int64_t(0), int64_t(0), [&](int64_t k) { return sums.first + k * sums.stride; });
  } else {
    for (int64_t run = 0; run < span.runs; ++run) {
      alignas(64) A own[kSums > 0 ? kSums : 1][kUsualWidth];
      for (int64_t k = 0; k < kSums; ++k) {
        for (int64_t lane = 0; lane < kUsualWidth; ++lane) own[k][lane] = A(0);
      }
      body(run, run * span.size, [&](int64_t k) { return own[k]; });
      for (int64_t k = 0; k < kSums; ++k) {
        sums.first[k * sums.stride + run] = folded<How, kUsualWidth>(own[k]);
      }
    }
  }
}

template <class T, bool kUniform>
void prelu(const PReLUSpan<T>& s, const T* input, T* output) {
  using A = Compute<T>;
  each_run<kUniform, 0>(s, Sums<A>{}, [&](int64_t run, int64_t start, const auto&) {
    const Parameter<kUniform, A> slope(s.slope, run);
    const T* __restrict from = input + start;
    T* __restrict to = output + start;
    each<kUniform>(s, [&](int64_t i, int64_t lane) {
      const A x = load(from[i]);
      const A below = slope[lane] * x;
      to[i] = store<T>(x > 0 ? x : below);
    }, from);
  });
}

template <class T, bool kUniform>
void prelu_backward(
    const PReLUSpan<T>& s, const T* grad, const T* input, T* grad_input, Sums<Compute<T>> sums) {
  using A = Compute<T>;
  each_run<kUniform, 1>(s, sums, [&](int64_t run, int64_t start, const auto& lanes) {
    const Parameter<kUniform, A> slope(s.slope, run);
    const T* __restrict from = input + start;
    const T* __restrict grads = grad + start;
    T* __restrict to = grad_input + start;
    A* __restrict below_zero = lanes(0);
    each<kUniform>(s, [&](int64_t i, int64_t lane) {
      const A x = load(from[i]), g = load(grads[i]);
      const A below = slope[lane] * g;
      const A product = g * x;
      to[i] = store<T>(x > 0 ? g : below);
      below_zero[lane] += x > 0 ? A(0) : product;
    }, grads, from);
  });
}

template <class T, bool kUniform>
void sum(const Span& s, const T* input, Sums<Compute<T>> sums) {
  using A = Compute<T>;
  each_run<kUniform, 1>(s, sums, [&](int64_t, int64_t start, const auto& lanes) {
    const T* __restrict from = input + start;
    A* __restrict plain = lanes(0);
    each<kUniform>(s, [&](int64_t i, int64_t lane) { plain[lane] += load(from[i]); }, from);
  });
}

template <class T, bool kUniform, bool kCentred>
void squares(const Span& s, const T* input, const Compute<T>* means, Sums<Compute<T>> sums) {
  using A = Compute<T>;
  static constexpr A kNone[1] = {};
  each_run<kUniform, 1>(s, sums, [&](int64_t run, int64_t start, const auto& lanes) {
    const Parameter<kUniform, A> mean(kCentred ? means : kNone, kCentred ? run : 0);
    const T* __restrict from = input + start;
    A* __restrict square = lanes(0);
    const auto add = [&](int64_t i, int64_t lane) {
      const A x = load(from[i]);
      const A deviation = kCentred ? x - mean[lane] : x;
      square[lane] += deviation * deviation;
    };
    if constexpr (kCentred) each<kUniform>(s, add); // whoever has the mean has the input in the cache
    else each<kUniform>(s, add, from);
  });
}

template <class T, bool kUniform>
void magnitudes(const Span& s, const T* input, Sums<Compute<T>> sums) {
  using A = Compute<T>;
  each_run<kUniform, 1>(s, sums, [&](int64_t, int64_t start, const auto& lanes) {
    const T* __restrict from = input + start;
    A* __restrict magnitude = lanes(0);
    each<kUniform>(s, [&](int64_t i, int64_t lane) {
      const A x = load(from[i]);
      magnitude[lane] += x < 0 ? -x : x;
    }, from);
  });
}

template <class T, bool kUniform>
void signs(const Span& s, const T* input, Sums<Compute<T>> sums) {
  using A = Compute<T>;
  each_run<kUniform, 2>(s, sums, [&](int64_t, int64_t start, const auto& lanes) {
    const T* __restrict from = input + start;
    A* __restrict positive = lanes(0);
    A* __restrict broken = lanes(1);
    each<kUniform>(s, [&](int64_t i, int64_t lane) {
      const A x = load(from[i]);
      positive[lane] += x > 0 ? A(1) : A(0);
      broken[lane] += x - x;
    }, from);
  });
}

template <class T, bool kUniform>
void split_squares(const Span& s, const T* source, const T* grad, Sums<Compute<T>> sums) {
  using A = Compute<T>;
  each_run<kUniform, 4>(s, sums, [&](int64_t, int64_t start, const auto& lanes) {
    const T* __restrict from = source + start;
    const T* __restrict grads = grad + start;
    A* __restrict square_above = lanes(0);
    A* __restrict above = lanes(1);
    A* __restrict square_below = lanes(2);
    A* __restrict below = lanes(3);
    each<kUniform>(s, [&](int64_t i, int64_t lane) {
      const A z = load(from[i]), g = load(grads[i]);
      const A square = g * g, magnitude = g < 0 ? -g : g;
      square_above[lane] += z > 0 ? square : A(0);
      above[lane] += z > 0 ? magnitude : A(0);
      square_below[lane] += z > 0 ? A(0) : square;
      below[lane] += z > 0 ? A(0) : magnitude;
    }, from, grads);
  });
}

// Takes kRows rows of a period whose signs share bytes. All rows of a lane come before the next lane, so that its sums
// stay in registers: add(sums, x, bits, bit) gets the lane's sums and byte, an element, and the bit of its row.
template <int64_t kSums, int64_t kRows, bool kWrites, class T, class Byte, class Add>
inline __attribute__((always_inline)) void rows_of_signs(
    const T* __restrict input, int64_t width, int64_t lanes, int64_t row, int64_t ahead, Compute<T>* __restrict sums,
    int64_t stride, Byte* __restrict kept, const Add& add) {
  for (int64_t r = 0; r < kRows; ++r) fetch_ahead(input + r * width, lanes, ahead);
#pragma GCC ivdep
  for (int64_t lane = 0; lane < lanes; ++lane) {
    Compute<T> own[kSums];
    for (int64_t k = 0; k < kSums; ++k) own[k] = sums[k * stride + lane];
    int32_t bits = kept[lane];
#pragma GCC unroll 8
    for (int64_t r = 0; r < kRows; ++r) add(own, load(input[r * width + lane]), bits, 1 << (row + r));
    for (int64_t k = 0; k < kSums; ++k) sums[k * stride + lane] = own[k];
    if constexpr (kWrites) kept[lane] = static_cast<Byte>(bits);
  }
}

// Calls add(...) for all elements of a run, or of a span of periods.
template <int64_t kSums, bool kWrites, class T, class Byte, class Add>
inline __attribute__((always_inline)) void each_sign(
    const Span& span, int64_t width, const T* __restrict input, Compute<T>* __restrict sums, int64_t stride,
    Byte* __restrict kept, const Add& add) {
  const int64_t ahead = span.ahead;
  for (int64_t start = 0; start < span.size; start += kBits * width, kept += width) {
    const int64_t left = span.size - start, rows = left < kBits * width ? left / width : kBits;
    if constexpr (kWrites) __builtin_memset(kept, 0, width);
    int64_t row = 0;
    const auto whole = [&](auto count) __attribute__((always_inline)) {
      constexpr int64_t kRows = decltype(count)::value;
      for (; row + kRows <= rows; row += kRows) {
        const T* from = input + start + row * width;
        int64_t lane = 0;
        for (; lane + kUsualWidth <= width; lane += kUsualWidth) { // of a length that the compiler knows
          rows_of_signs<kSums, kRows, kWrites>(
              from + lane, width, kUsualWidth, row, ahead, sums + lane, stride, kept + lane, add);
        }
        rows_of_signs<kSums, kRows, kWrites>(
            from + lane, width, width - lane, row, ahead, sums + lane, stride, kept + lane, add);
      }
    };
    whole(std::integral_constant<int64_t, kBits>());
    whole(std::integral_constant<int64_t, 4>());
    whole(std::integral_constant<int64_t, 2>());
    whole(std::integral_constant<int64_t, 1>());
    if (rows < kBits) {
      rows_of_signs<kSums, 1, kWrites>(
          input + start + row * width, width, left - rows * width, row, ahead, sums, stride, kept, add);
    }
  }
}

template <int64_t kSums, bool kUniform, bool kWrites, class T, class Byte, class Add>
inline __attribute__((always_inline)) void each_sign_of(
    const Span& s, const T* stream, Byte* kept, const Sums<Compute<T>>& sums, const Add& add) {
  each_run<kUniform, kSums>(s, sums, [&](int64_t run, int64_t start, const auto& lanes) {
    const int64_t width = kUniform ? kUsualWidth : s.width, stride = kUniform ? kUsualWidth : sums.stride;
    each_sign<kSums, kWrites>(
        s, width, stream + start, lanes(0), stride, kept + run * sign_bytes(s.size, width), add);
  });
}

template <class T, bool kUniform>
void signs_kept(const Span& s, const T* input, uint8_t* kept, Sums<Compute<T>> sums) {
  using A = Compute<T>;
  each_sign_of<2, kUniform, true>(s, input, kept, sums, [](A* own, A x, int32_t& bits, int32_t bit) {
    own[0] += x > 0 ? A(1) : A(0);
    own[1] += x - x;
    bits |= x > 0 ? bit : 0;
  });
}

template <class T, bool kUniform>
void squares_kept(const Span& s, const uint8_t* kept, const T* grad, Sums<Compute<T>> sums) {
  using A = Compute<T>;
  each_sign_of<2, kUniform, false>(s, grad, kept, sums, [](A* own, A g, int32_t bits, int32_t bit) {
    const A square = g * g;
    own[0] += (bits & bit) != 0 ? square : A(0);
    own[1] += square;
  });
}

template <class T, bool kUniform>
void split_squares_kept(const Span& s, const uint8_t* kept, const T* grad, Sums<Compute<T>> sums) {
  using A = Compute<T>;
  each_sign_of<2, kUniform, false>(s, grad, kept, sums, [](A* own, A g, int32_t bits, int32_t bit) {
    const A square = g * g;
    own[0] += (bits & bit) != 0 ? square : A(0);
    own[1] += (bits & bit) != 0 ? A(0) : square;
  });
}

template <class T, bool kUniform>
void split_magnitudes_kept(const Span& s, const uint8_t* kept, const T* grad, Sums<Compute<T>> sums) {
  using A = Compute<T>;
  each_sign_of<2, kUniform, false>(s, grad, kept, sums, [](A* own, A g, int32_t bits, int32_t bit) {
    const A magnitude = g < 0 ? -g : g;
    own[0] += (bits & bit) != 0 ? magnitude : A(0);
    own[1] += (bits & bit) != 0 ? A(0) : magnitude;
  });
}

template <class T, bool kUniform, bool kResidual>
void norm_prelu(const NormSpan<T>& s, const T* input, T* output, Sums<Bits<Compute<T>>> largest) {
  using A = Compute<T>;
  each_run<kUniform, kResidual, Largest>(s, largest, [&](int64_t run, int64_t start, const auto& lanes) {
    const Parameter<kUniform, A> slope(s.slope, run), mean(s.mean, run), scale(s.scale, run), shift(s.shift, run);
    const T* __restrict from = input + start;
    const T* __restrict residual = kResidual ? s.residual + start : from;
    T* __restrict to = output + start;
    Bits<A>* __restrict so_far = lanes(0);
    each<kUniform>(s, [&](int64_t i, int64_t lane) {
      A z = (load(from[i]) - mean[lane]) * scale[lane] + shift[lane];
      if constexpr (kResidual) {
        const A r = load(residual[i]);
        const Bits<A> magnitude = magnitude_bits(r);
        so_far[lane] = magnitude > so_far[lane] ? magnitude : so_far[lane];
        z += r;
      }
      const A below = slope[lane] * z;
      to[i] = store<T>(z > 0 ? z : below);
    }, from, residual);
  });
}

template <class A>
struct Point {
  A z, centred;
  A sign; // above 0 where z is
};

// What the backward pass knows of an element. Parameters are read for a run, or point to a period.
template <class T, bool kUniform, bool kResidual, bool kInverted>
struct Points {
  using A = Compute<T>;
  Parameter<kUniform, A> slope, mean, scale, shift, inverse_slope;

  Points(const NormGradSpan<T>& s, int64_t run)
      : slope(s.slope, run), mean(s.mean, run), scale(s.scale, run), shift(s.shift, run),
        inverse_slope(s.inverse_slope, run) {}

  inline __attribute__((always_inline)) Point<A> at(T source, A residual, int64_t lane) const {
    const A value = load(source);
    if constexpr (kInverted) {
      const A above = value * inverse_slope[lane];
      const A z = value > 0 ? value : above;
      return {z, (kResidual ? z - residual : z) - shift[lane], value};
    } else {
      const A centred = value - mean[lane];
      const A z = centred * scale[lane] + shift[lane];
      const A summed = kResidual ? z + residual : z;
      return {summed, centred, summed};
    }
  }
};

template <class T, bool kUniform, bool kResidual, bool kInverted>
void norm_prelu_reduce(
    const NormGradSpan<T>& s, const T* grad, const T* source, T* grad_residual, Sums<Compute<T>> sums) {
  using A = Compute<T>;
  each_run<kUniform, 3>(s, sums, [&](int64_t run, int64_t start, const auto& lanes) {
    const Points<T, kUniform, kResidual, kInverted> points(s, run);
    const T* __restrict from = source + start;
    const T* __restrict grads = grad + start;
    const T* __restrict residual = kResidual ? s.residual + start : grads;
    T* __restrict rectified = kResidual ? grad_residual + start : nullptr;
    A* __restrict plain = lanes(0);
    A* __restrict projected = lanes(1);
    A* __restrict below_zero = lanes(2);
    each<kUniform>(s, [&](int64_t i, int64_t lane) {
      const A g = load(grads[i]);
      const auto p = points.at(from[i], kResidual ? load(residual[i]) : A(0), lane);
      const A below = points.slope[lane] * g;
      const A product = g * p.z;
      const A grad_z = p.sign > 0 ? g : below;
      plain[lane] += grad_z;
      projected[lane] += grad_z * p.centred;
      below_zero[lane] += p.sign > 0 ? A(0) : product;
      if constexpr (kResidual) rectified[i] = store<T>(grad_z);
    }, grads, from, residual);
  });
}

template <class T, bool kUniform, bool kResidual, bool kInverted>
void norm_prelu_backward(
    const NormGradSpan<T>& s, const T* grad, const T* source, T* grad_input, const Compute<T>* factors,
    const Compute<T>* offsets, const Compute<T>* projections) {
  using A = Compute<T>;
  each_run<kUniform, 0>(s, Sums<A>{}, [&](int64_t run, int64_t start, const auto&) {
    const Points<T, kUniform, kResidual && kInverted, kInverted> points(s, run);
    const Parameter<kUniform, A> factor(factors, run), offset(offsets, run), projection(projections, run);
    const T* __restrict from = source + start;
    const T* __restrict grads = grad + start;
    const T* __restrict residual = kResidual && kInverted ? s.residual + start : grads;
    T* __restrict to = grad_input + start;
    each<kUniform>(s, [&](int64_t i, int64_t lane) {
      const A g = load(grads[i]);
      // The residual matters to `centred` only where it has to be taken out of z again.
      const auto p = points.at(from[i], kResidual && kInverted ? load(residual[i]) : A(0), lane);
      const A below = points.slope[lane] * g;
      const A grad_z = kResidual || p.sign > 0 ? g : below;
      // Nothing is projected in evaluation, where an infinite input must not make 0 * infinity of that.
      const A along = projection[lane], product = p.centred * along;
      const A rest = grad_z - offset[lane] - (along != 0 ? product : A(0));
      to[i] = store<T>(factor[lane] * rest);
    }, grads, from);
  });
}

// From flags known at run time to the loop compiled for them.
template <class T>
Kernels<T> kernels() {
  using A = Compute<T>;
  Kernels<T> table;
  table.prelu = [](const PReLUSpan<T>& s, const T* input, T* output) {
    (s.uniform ? prelu<T, true> : prelu<T, false>)(s, input, output);
  };
  table.prelu_backward = [](const PReLUSpan<T>& s, const T* grad, const T* input, T* grad_input, Sums<A> sums) {
    (s.uniform ? prelu_backward<T, true> : prelu_backward<T, false>)(s, grad, input, grad_input, sums);
  };
  table.sum = [](const Span& s, const T* input, Sums<A> sums) {
    (s.uniform ? sum<T, true> : sum<T, false>)(s, input, sums);
  };
  table.squares = [](const Span& s, const T* input, const A* mean, Sums<A> sums) {
    const auto centred = s.uniform ? squares<T, true, true> : squares<T, false, true>;
    const auto plain = s.uniform ? squares<T, true, false> : squares<T, false, false>;
    (mean ? centred : plain)(s, input, mean, sums);
  };
  table.magnitudes = [](const Span& s, const T* input, Sums<A> sums) {
    (s.uniform ? magnitudes<T, true> : magnitudes<T, false>)(s, input, sums);
  };
  table.signs = [](const Span& s, const T* input, Sums<A> sums) {
    (s.uniform ? signs<T, true> : signs<T, false>)(s, input, sums);
  };
  table.split_squares = [](const Span& s, const T* source, const T* grad, Sums<A> sums) {
    (s.uniform ? split_squares<T, true> : split_squares<T, false>)(s, source, grad, sums);
  };
  table.signs_kept = [](const Span& s, const T* input, uint8_t* kept, Sums<A> sums) {
    (s.uniform ? signs_kept<T, true> : signs_kept<T, false>)(s, input, kept, sums);
  };
  table.squares_kept = [](const Span& s, const uint8_t* kept, const T* grad, Sums<A> sums) {
    (s.uniform ? squares_kept<T, true> : squares_kept<T, false>)(s, kept, grad, sums);
  };
  table.split_squares_kept = [](const Span& s, const uint8_t* kept, const T* grad, Sums<A> sums) {
    (s.uniform ? split_squares_kept<T, true> : split_squares_kept<T, false>)(s, kept, grad, sums);
  };
  table.split_magnitudes_kept = [](const Span& s, const uint8_t* kept, const T* grad, Sums<A> sums) {
    (s.uniform ? split_magnitudes_kept<T, true> : split_magnitudes_kept<T, false>)(s, kept, grad, sums);
  };
  table.norm_prelu = [](const NormSpan<T>& s, const T* input, T* output, Sums<Bits<A>> largest) {
    const auto with = s.uniform ? norm_prelu<T, true, true> : norm_prelu<T, false, true>;
    const auto without = s.uniform ? norm_prelu<T, true, false> : norm_prelu<T, false, false>;
    (s.residual ? with : without)(s, input, output, largest);
  };
  table.norm_prelu_reduce =
      [](const NormGradSpan<T>& s, const T* grad, const T* source, T* grad_residual, Sums<A> sums) {
        constexpr decltype(Kernels<T>::norm_prelu_reduce) choices[] = {
            norm_prelu_reduce<T, false, false, false>, norm_prelu_reduce<T, false, false, true>,
            norm_prelu_reduce<T, false, true, false>,  norm_prelu_reduce<T, false, true, true>,
            norm_prelu_reduce<T, true, false, false>,  norm_prelu_reduce<T, true, false, true>,
            norm_prelu_reduce<T, true, true, false>,   norm_prelu_reduce<T, true, true, true>};
        choices[4 * s.uniform + 2 * (s.residual != nullptr) + s.inverted](s, grad, source, grad_residual, sums);
      };
  table.norm_prelu_backward = [](const NormGradSpan<T>& s, const T* grad, const T* source, T* grad_input,
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
