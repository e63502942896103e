// Sums of what a span holds, for statistics and for monitors. A part of loops.h.

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
void nans(const Span& s, const T* input, Sums<Compute<T>> sums) {
  using A = Compute<T>;
  each_run<kUniform, 1>(s, sums, [&](int64_t, int64_t start, const auto& lanes) {
    const T* __restrict from = input + start;
    A* __restrict count = lanes(0);
    each<kUniform>(s, [&](int64_t i, int64_t lane) {
      const A x = load(from[i]);
      count[lane] += x != x ? A(1) : A(0);
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
