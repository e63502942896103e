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

// Mean and biased variance of a region's channels. Each sum's elements are centred by their own mean while they are in
// the cache, and joined with the others by Chan's formula: no cancellation, however large the mean.
template <class T>
void find_moments(const Tensor& input, const Layout& layout, Region region, Moments& result) {
  using A = Compute<T>;
  const auto& kernels = pick<T>(capability());
  const int64_t places = layout.places(region);
  const auto sums = layout.sums<A>(region, true, 2, [&](const Stretch& s, Sums<A> sums) {
    static thread_local Lanes<A> memory; // an allocation for each stretch can cost more than its sums
    const T* from = data<T>(input) + s.offset;
    kernels.sum(s, from, sums);
    kernels.squares(s, from, layout.means(s, sums.first, memory), {sums.first + sums.stride, sums.stride});
  });
  const double total = layout.per_channel();
  const auto mean = [&](int64_t members, int64_t place) { return sums[place] / static_cast<A>(members); };
  layout.each_sum(region, [&](int64_t c, int64_t members, int64_t place) {
    result.mean[c] += members / total * mean(members, place);
  });
  layout.each_sum(region, [&](int64_t c, int64_t members, int64_t place) {
    const double apart = mean(members, place) - result.mean[c];
    result.var[c] += (sums[places + place] + members * apart * apart) / total;
  });
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

// The values of a region's channels, as the loops read them.
template <class A>
struct Normalisation {
  Lanes<A> slope, mean, scale, shift;

  Normalisation(
      const Layout& layout, Region region, const Values& slopes, const Moments& moments, const Values& weight,
      const Values& bias, double eps)
      : slope(layout.spread<A>(slopes, region)), mean(layout.spread<A>(moments.mean, region)) {
    Values scales(region.count), shifts(region.count);
    for (int64_t j = 0, c = region.first; j < region.count; ++j, ++c) {
      scales[j] = at(weight, c) / std::sqrt(moments.var[c] + eps);
      // What rounding took from the mean goes into the shift.
      shifts[j] = at(bias, c) - (moments.mean[c] - static_cast<A>(moments.mean[c])) * scales[j];
    }
    scale = layout.spread<A>(scales, {0, region.count});
    shift = layout.spread<A>(shifts, {0, region.count});
  }

  template <class T>
  NormSpan<T> span(const Stretch& s, const T* residual) const {
    const int64_t c = s.channel;
    return {
        s, residual ? residual + s.offset : nullptr, slope.data() + c, mean.data() + c, scale.data() + c,
        shift.data() + c};
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
    Moments used{values(running_mean), values(running_var)};
    if (!running_mean) used = {Values(channels), Values(channels)};
    const Values slopes = values(slope), weights = values(weight, 1), biases = values(bias, 0);
    const auto& kernels = pick<T>(capability());
    std::vector<Bits<A>> largest_residual(channels, 0);
    layout.each_region([&](Region region) {
      if (!running_mean) find_moments<T>(input, layout, region, used);
      const Normalisation<A> normalisation(layout, region, slopes, used, weights, biases, eps);
      const auto normalise = [&](const Stretch& s, Sums<Bits<A>> largest) {
        const auto span = normalisation.template span<T>(s, data_or_null<T>(residual));
        kernels.norm_prelu(span, data<T>(input) + s.offset, data<T>(output) + s.offset, largest);
      };
      if (!residual) {
        layout.each(region, false, [&](const Stretch& s) { normalise(s, {}); });
        return;
      }
      const auto largest = layout.largest<Bits<A>>(region, normalise);
      layout.each_sum(region, [&](int64_t c, int64_t, int64_t place) {
        largest_residual[c] = std::max(largest_residual[c], largest[place]);
      });
    });
    Values added(channels);
    for (int64_t c = 0; c < channels; ++c) added[c] = __builtin_bit_cast(A, largest_residual[c]);
    const bool invertible = is_invertible(slopes, weights, biases, added, input.scalar_type(), channels);
    return std::tuple(output, statistics(input, used.mean), statistics(input, used.var), new_bool(invertible));
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
    Values inverse_slopes(slopes);
    for (double& a : inverse_slopes) a = 1 / a;
    const double total = layout.per_channel();
    const auto& kernels = pick<T>(capability());
    layout.each_region([&](Region region) {
      const Normalisation<A> normalisation(layout, region, slopes, used, weights, biases, eps);
      const auto inverse_slope = layout.spread<A>(inverse_slopes, region);
      const auto span_at = [&](const Stretch& s) {
        return NormGradSpan<T>{
            normalisation.template span<T>(s, data_or_null<T>(residual)), inverted, inverse_slope.data() + s.channel};
      };
      const int64_t places = layout.places(region);
      const auto partial = layout.sums<A>(region, true, 3, [&](const Stretch& s, Sums<A> sums) {
        kernels.norm_prelu_reduce(
            span_at(s), data<T>(grad_output) + s.offset, data<T>(source) + s.offset,
            residual ? data<T>(grad_residual) + s.offset : nullptr, sums);
      });
      const Region own{0, region.count};
      Values projected(own.count), factor(own.count), offset(own.count), projection(own.count);
      layout.each_sum(region, [&](int64_t c, int64_t, int64_t place) {
        grad_bias[c] += partial[place];
        projected[c - region.first] += partial[place + places];
        grad_slope[c] += partial[place + 2 * places];
      });
      for (int64_t j = 0, c = region.first; j < own.count; ++j, ++c) {
        const double inverse_std = 1 / std::sqrt(used.var[c] + eps);
        const double to_normalised = inverted ? 1 / at(weights, c) : inverse_std; // of `centred`
        grad_weight[c] = projected[j] * to_normalised;
        factor[j] = at(weights, c) * inverse_std;
        offset[j] = training ? grad_bias[c] / total : 0;
        projection[j] = training ? projected[j] * to_normalised * to_normalised / total : 0;
      }
      const auto factors = layout.spread<A>(factor, own), offsets = layout.spread<A>(offset, own);
      const auto projections = layout.spread<A>(projection, own);
      const Tensor& rectified = residual ? grad_residual : grad_output;
      layout.each(region, false, [&](const Stretch& s) {
        kernels.norm_prelu_backward(
            span_at(s), data<T>(rectified) + s.offset, data<T>(source) + s.offset, data<T>(grad_input) + s.offset,
            factors.data() + s.channel, offsets.data() + s.channel, projections.data() + s.channel);
      });
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
