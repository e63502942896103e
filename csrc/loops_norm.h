// Normalisation, residual and PReLU at once, and its gradients. A part of loops.h.

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
