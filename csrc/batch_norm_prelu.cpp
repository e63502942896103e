// Batch normalisation, residual and PReLU at once: z = (x - mean) / sqrt(var + eps) * weight + bias + residual,
// y = z where z > 0, else slope * z. Two passes over memory in training (statistics; output), one in evaluation, and
// two backward (sums; gradient of the input).
#include <torch/csrc/stable/library.h>

#include <cmath>
#include <tuple>

#include "layout.h"
#include "tensors.h"

namespace slopewise {
namespace {

using Values = std::vector<double>; // one per channel, or one for all
using MaybeTensor = std::optional<Tensor>;

double at(const Values& values, size_t c) { return values[values.size() == 1 ? 0 : c]; }

struct Moments {
  Values mean, var;
};

// Mean and biased variance of every channel. Each stretch is centred by its own mean while it is in the cache, and
// the stretches are joined by Chan's formula: no cancellation, however large the mean.
template <class T>
Moments moments(const Tensor& input, const Layout& layout) {
  using A = Compute<T>;
  const auto& kernels = pick<T>(capability());
  const int64_t count = layout.sums_per_stretch();
  std::vector<A> means(layout.stretches() * count), squares(layout.stretches() * count);
  layout.each<A>(true, 2, [&](const Stretch& s, A* lanes) {
    const T* from = data<T>(input) + s.offset;
    A* period = lanes + layout.width();
    std::fill_n(lanes, layout.width(), A(0));
    kernels.sum(s.size, layout.width(), from, lanes);
    A* mean = means.data() + s.index * count;
    layout.fold(lanes, mean);
    for (int64_t j = 0; j < count; ++j) mean[j] /= layout.members(s);
    layout.unfold(mean, period);
    std::fill_n(lanes, layout.width(), A(0));
    kernels.squares(s.size, layout.width(), layout.uniform(), from, period, lanes);
    layout.fold(lanes, squares.data() + s.index * count);
  });

  const double total = layout.per_channel();
  Moments result{Values(layout.channels(), 0.0), Values(layout.channels(), 0.0)};
  layout.each_sum([&](int64_t c, const Stretch& s, int64_t place) {
    result.mean[c] += layout.members(s) / total * means[place];
  });
  layout.each_sum([&](int64_t c, const Stretch& s, int64_t place) {
    const double apart = means[place] - result.mean[c];
    result.var[c] += (squares[place] + layout.members(s) * apart * apart) / total;
  });
  return result;
}

// Whether the backward pass may work from the output: slopes positive, neither tiny nor huge, so that z = y / slope; and
// (z - residual - bias) / weight free of cancellation beyond what the type's rounding makes of it anyway.
bool is_invertible(
    const Values& slope, const Values& weight, const Values& bias, const Values& largest_residual, ScalarType type,
    int64_t channels) {
  constexpr double kSmallestSlope = 0x1p-10, kLargestSlope = 0x1p10;
  const double ratio = type == ScalarType::Double ? 0x1p20 : type == ScalarType::Float ? 512 : 8;
  for (int64_t c = 0; c < channels; ++c) {
    const double a = at(slope, c), added = std::abs(at(bias, c)) + at(largest_residual, c);
    // Written so that a NaN anywhere says no.
    if (!(a >= kSmallestSlope && a <= kLargestSlope)) return false;
    if (!(at(weight, c) != 0 && added <= ratio * std::abs(at(weight, c)))) return false;
  }
  return true;
}

MaybeTensor like_input(const MaybeTensor& residual, const Tensor& input) {
  if (!residual) return std::nullopt;
  return laid_out_like(*residual, input, "the residual");
}

int64_t checked_channels(
    const Tensor& input, const Tensor& slope, const MaybeTensor& mean, const MaybeTensor& var,
    const MaybeTensor& weight, const MaybeTensor& bias) {
  STD_TORCH_CHECK(input.dim() >= 2, "slopewise: the input needs a dimension of samples and one of channels");
  STD_TORCH_CHECK(mean.has_value() == var.has_value(), "slopewise: a mean goes with a variance");
  const int64_t channels = input.size(1);
  check_channels(slope, channels, true, "the slope");
  check_channels(mean, channels, false, "the mean");
  check_channels(var, channels, false, "the variance");
  check_channels(weight, channels, false, "weight");
  check_channels(bias, channels, false, "bias");
  return channels;
}

template <class T>
const T* data_or_null(const MaybeTensor& tensor) {
  return tensor ? data<T>(*tensor) : nullptr;
}

// The per-channel values that the loops read, spread over periods.
template <class A>
struct Normalisation {
  Lanes<A> slope, mean, scale, shift;

  Normalisation(
      const Layout& layout, const Values& slopes, const Moments& moments, const Values& weight, const Values& bias,
      double eps)
      : slope(layout.spread<A>(slopes)), mean(layout.spread<A>(moments.mean)) {
    Values scales(layout.channels()), shifts(layout.channels());
    for (int64_t c = 0; c < layout.channels(); ++c) {
      scales[c] = at(weight, c) / std::sqrt(moments.var[c] + eps);
      // What rounding took from the mean goes into the shift.
      shifts[c] = at(bias, c) - (moments.mean[c] - static_cast<A>(moments.mean[c])) * scales[c];
    }
    scale = layout.spread<A>(scales);
    shift = layout.spread<A>(shifts);
  }

  template <class T>
  NormStretch<T> stretch(const Layout& layout, const Stretch& s, const T* residual) const {
    const int64_t c = s.channel;
    return {
        s.size,           layout.width(),  layout.uniform(), residual ? residual + s.offset : nullptr,
        slope.data() + c, mean.data() + c, scale.data() + c, shift.data() + c};
  }
};

std::tuple<Tensor, Tensor, Tensor, Tensor> batch_norm_prelu(
    const Tensor& given, const MaybeTensor& given_residual, const Tensor& slope, const MaybeTensor& running_mean,
    const MaybeTensor& running_var, const MaybeTensor& weight, const MaybeTensor& bias, double eps) {
  const Tensor input = dense(given);
  const int64_t channels = checked_channels(input, slope, running_mean, running_var, weight, bias);
  const MaybeTensor residual = like_input(given_residual, input);
  const Layout layout(input, 1);
  Tensor output = new_like(input);
  return with_type(input, [&](auto type) {
    using T = decltype(type);
    using A = Compute<T>;
    const Moments moments_used =
        running_mean ? Moments{values(running_mean), values(running_var)} : moments<T>(input, layout);
    const Values slopes = values(slope), weights = values(weight, 1), biases = values(bias, 0);
    const Normalisation<A> normalisation(layout, slopes, moments_used, weights, biases, eps);
    const auto& kernels = pick<T>(capability());
    const int64_t count = layout.sums_per_stretch();
    std::vector<A> largest(residual ? layout.stretches() * count : 0);
    layout.each<A>(false, 1, [&](const Stretch& s, A* lanes) {
      if (residual) std::fill_n(lanes, layout.width(), A(0));
      const auto stretch = normalisation.template stretch<T>(layout, s, data_or_null<T>(residual));
      kernels.norm_prelu(stretch, data<T>(input) + s.offset, data<T>(output) + s.offset, lanes);
      if (residual) layout.fold_largest(lanes, largest.data() + s.index * count);
    });
    Values largest_residual(channels, 0.0);
    if (residual) {
      layout.each_sum([&](int64_t c, const Stretch&, int64_t place) {
        largest_residual[c] = larger<double>(largest[place], largest_residual[c]);
      });
    }
    const bool invertible =
        is_invertible(slopes, weights, biases, largest_residual, input.scalar_type(), channels);
    return std::tuple(
        output, statistics(input, moments_used.mean), statistics(input, moments_used.var), new_bool(invertible));
  });
}

// `given` is the input or, with `inverted`, the output. `training`: mean and var are the batch's own, so that they
// carry gradient. The gradients of a missing residual, weight or bias have no elements.
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> batch_norm_prelu_backward(
    const Tensor& grad, const Tensor& given, const MaybeTensor& given_residual, const Tensor& slope,
    const Tensor& mean, const Tensor& var, const MaybeTensor& weight, const MaybeTensor& bias, bool training,
    double eps, bool inverted) {
  const Tensor source = dense(given);
  const Tensor grad_output = laid_out_like(grad, source, "the gradient");
  const MaybeTensor residual = like_input(given_residual, source);
  const size_t channels = checked_channels(source, slope, mean, var, weight, bias);
  const Layout layout(source, 1);
  Tensor grad_input = new_like(source);
  Tensor grad_residual = residual ? new_like(source) : new_nothing();
  Values grad_weight(channels), grad_bias(channels), grad_slope(channels);
  with_type(source, [&](auto type) {
    using T = decltype(type);
    using A = Compute<T>;
    const Moments used{values(mean), values(var)};
    const Values slopes = values(slope), weights = values(weight, 1), biases = values(bias, 0);
    Normalisation<A> normalisation(layout, slopes, used, weights, biases, eps);
    Values inverse_slopes(slopes);
    for (double& a : inverse_slopes) a = 1 / a;
    const auto inverse_slope = layout.spread<A>(inverse_slopes);
    const auto stretch_at = [&](const Stretch& s) {
      return NormGradStretch<T>{
          normalisation.template stretch<T>(layout, s, data_or_null<T>(residual)), inverted,
          inverse_slope.data() + s.channel};
    };
    const auto& kernels = pick<T>(capability());
    const int64_t count = layout.sums_per_stretch(), width = layout.width();
    const int64_t places = layout.stretches() * count;
    std::vector<A> partial(3 * places);
    layout.each<A>(true, 3, [&](const Stretch& s, A* lanes) {
      std::fill_n(lanes, 3 * width, A(0));
      kernels.norm_prelu_reduce(
          stretch_at(s), data<T>(grad_output) + s.offset, data<T>(source) + s.offset,
          residual ? data<T>(grad_residual) + s.offset : nullptr, lanes);
      A* sums = partial.data() + s.index * count;
      for (int64_t k = 0; k < 3; ++k) layout.fold(lanes + k * width, sums + k * places);
    });
    Values projected(channels);
    layout.each_sum([&](int64_t c, const Stretch&, int64_t place) {
      grad_bias[c] += partial[place];
      projected[c] += partial[place + places];
      grad_slope[c] += partial[place + 2 * places];
    });
    Values factor(channels), offset(channels), projection(channels);
    const double total = layout.per_channel();
    for (size_t c = 0; c < channels; ++c) {
      const double inverse_std = 1 / std::sqrt(used.var[c] + eps);
      const double to_normalised = inverted ? 1 / at(weights, c) : inverse_std; // of `centred`
      grad_weight[c] = projected[c] * to_normalised;
      factor[c] = at(weights, c) * inverse_std;
      offset[c] = training ? grad_bias[c] / total : 0;
      projection[c] = training ? projected[c] * to_normalised * to_normalised / total : 0;
    }
    const auto factors = layout.spread<A>(factor), offsets = layout.spread<A>(offset);
    const auto projections = layout.spread<A>(projection);
    const Tensor& rectified = residual ? grad_residual : grad_output;
    layout.each<A>(false, 0, [&](const Stretch& s, A*) {
      kernels.norm_prelu_backward(
          stretch_at(s), data<T>(rectified) + s.offset, data<T>(source) + s.offset, data<T>(grad_input) + s.offset,
          factors.data() + s.channel, offsets.data() + s.channel, projections.data() + s.channel);
    });
  });
  return {
      grad_input, grad_residual, weight ? reduced_like(*weight, grad_weight) : new_nothing(),
      bias ? reduced_like(*bias, grad_bias) : new_nothing(), reduced_like(slope, grad_slope)};
}

} // namespace
} // namespace slopewise

STABLE_TORCH_LIBRARY_IMPL(slopewise, CPU, m) {
  m.impl("batch_norm_prelu", TORCH_BOX(&slopewise::batch_norm_prelu));
  m.impl("batch_norm_prelu_backward", TORCH_BOX(&slopewise::batch_norm_prelu_backward));
}
