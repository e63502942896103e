// PReLU: y = x where x > 0, else slope * x; and its two gradients in one pass over memory.
#include <torch/csrc/stable/library.h>

#include <tuple>

#include "layout.h"
#include "tensors.h"

namespace slopewise {
namespace {

Layout layout_of(const Tensor& input, const Tensor& slope, int64_t channel_dim) {
  STD_TORCH_CHECK(input.scalar_type() == slope.scalar_type(), "slopewise: the input and the slopes differ in dtype");
  STD_TORCH_CHECK(slope.dim() <= 1, "slopewise: the slopes are a scalar or a vector");
  if (slope.numel() == 1) return Layout(input, -1);
  const int64_t dim = channel_dim < 0 ? channel_dim + input.dim() : channel_dim;
  STD_TORCH_CHECK(dim >= 0 && dim < input.dim(), "slopewise: the input has no dimension ", channel_dim);
  check_channels(slope, input.size(dim), false, "the slope");
  return Layout(input, dim);
}

Tensor prelu(const Tensor& given, const Tensor& slope, int64_t channel_dim) {
  const Tensor input = dense(given);
  const Layout layout = layout_of(input, slope, channel_dim);
  Tensor output = new_like(input);
  with_type(input, [&](auto type) {
    using T = decltype(type);
    const auto slopes = layout.spread<Compute<T>>(values(slope), layout.whole());
    const auto& kernels = pick<T>(capability());
    const T* from = data<T>(input);
    T* to = data<T>(output);
    layout.each(layout.whole(), false, [&](const Stretch& s) {
      kernels.prelu({s, slopes.data() + s.channel}, from + s.offset, to + s.offset);
    });
  });
  return output;
}

// With `inverted`, `given` is the output of a PReLU whose slopes are all positive: it has the input's signs, and the
// input is output / slope where it is not above 0, so the slope's gradient needs one division per channel.
std::tuple<Tensor, Tensor> prelu_backward(
    const Tensor& grad, const Tensor& given, const Tensor& slope, int64_t channel_dim, bool inverted) {
  const Tensor input = dense(given);
  const Tensor grad_output = laid_out_like(grad, input, "the gradient");
  const Layout layout = layout_of(input, slope, channel_dim);
  Tensor grad_input = new_like(input);
  const std::vector<double> slopes = values(slope);
  std::vector<double> totals(layout.channels(), 0.0);
  with_type(input, [&](auto type) {
    using T = decltype(type);
    using A = Compute<T>;
    const auto period = layout.spread<A>(slopes, layout.whole());
    const auto& kernels = pick<T>(capability());
    const auto partial = layout.sums<A>(layout.whole(), false, 1, [&](const Stretch& s, Sums<A> sums) {
      kernels.prelu_backward(
          {s, period.data() + s.channel}, data<T>(grad_output) + s.offset, data<T>(input) + s.offset,
          data<T>(grad_input) + s.offset, sums);
    });
    layout.each_sum(layout.whole(), [&](int64_t c, int64_t, int64_t place) { totals[c] += partial[place]; });
  });
  if (inverted) {
    for (size_t c = 0; c < totals.size(); ++c) totals[c] /= slopes[c];
  }
  return {grad_input, reduced_like(slope, totals)};
}

} // namespace
} // namespace slopewise

STABLE_TORCH_LIBRARY_IMPL(slopewise, CPU, m) {
  m.impl("prelu", TORCH_BOX(&slopewise::prelu));
  m.impl("prelu_backward", TORCH_BOX(&slopewise::prelu_backward));
}
