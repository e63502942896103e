// PReLU and its gradients. A part of loops.h.

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
