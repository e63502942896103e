// The loops themselves. Included once by each file of an instruction set, after its compiler options, within its own
// namespace: there is no include guard, and nothing here may be visible to another file.
//
// They are plain loops that the compiler vectorises: no branch on an element's value, no aliasing, no reassociation. And
// no functions of the standard library: another file might be linked with the code that they become here.

#include "loops_each.h"
#include "loops_norm.h"
#include "loops_prelu.h"
#include "loops_sums.h"

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
  table.nans = [](const Span& s, const T* input, Sums<A> sums) {
    (s.uniform ? nans<T, true> : nans<T, false>)(s, input, sums);
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
