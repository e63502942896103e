// How a loop goes over a span: loads and stores, parameters, lanes and their sums. A part of loops.h.

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
