#include "layout.h"

#include <algorithm>
#include <numeric>

namespace slopewise {

using torch::stable::Tensor;

namespace {

// A stretch fits the first-level cache beside its partners, and is long enough to hide its start.
constexpr int64_t kStretch = 16384;
constexpr int64_t kRowsPerStretch = 64; // so that partial sums stay few beside the elements
constexpr int64_t kWidth = 256;         // of a period, at least: many rows of few channels run as one
constexpr int64_t kVector = 16;         // a period of whole vectors has no remainder
constexpr int64_t kSmallInner = 32;     // runs of one channel this short go by rows instead
constexpr int64_t kLongestRow = 16384;

int64_t rounded_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

} // namespace

Layout::Layout(const Tensor& tensor, int64_t channel_dim) : size_(tensor.numel()), channels_(1), inner_(size_) {
  if (channel_dim >= 0 && size_ > 0) {
    const auto sizes = tensor.sizes();
    const auto strides = tensor.strides();
    channels_ = sizes[channel_dim];
    if (channels_ > 1) {
      inner_ = 1;
      for (int64_t d = 0; d < tensor.dim(); ++d) {
        if (sizes[d] > 1 && strides[d] < strides[channel_dim]) inner_ *= sizes[d];
      }
    }
  } else if (channel_dim >= 0) {
    channels_ = tensor.size(channel_dim);
  }
  const int64_t row = channels_ * inner_;
  uniform_ = channels_ == 1 || (inner_ >= kSmallInner || row > kLongestRow);
  if (inner_ == 1 && channels_ > 1) uniform_ = false;
  if (uniform_) {
    width_ = kUniformWidth;
    length_ = kStretch;
    parts_ = std::max<int64_t>(1, (inner_ + length_ - 1) / length_);
    stretches_ = size_ == 0 ? 0 : size_ / inner_ * parts_;
    return;
  }
  const int64_t unit = kVector / std::gcd(row, kVector);
  const int64_t rows = rounded_up(std::max<int64_t>(1, kWidth / row), unit);
  width_ = row * std::min(rows, rounded_up(size_ / std::max<int64_t>(1, row), unit));
  length_ = rounded_up(std::max(kStretch, kRowsPerStretch * row), width_);
  parts_ = 1;
  stretches_ = (size_ + length_ - 1) / length_;
}

int64_t Layout::members(int64_t stretch, int64_t c) const {
  if (uniform_) return c == channel(stretch) ? size(stretch) : 0;
  return size(stretch) / channels_; // a stretch is whole rows
}

bool is_dense(const Tensor& tensor) {
  const auto sizes = tensor.sizes();
  const auto strides = tensor.strides();
  const int64_t dims = tensor.dim(), elements = tensor.numel();
  // From the innermost dimension out: each begins where those within it end.
  for (int64_t expected = 1; expected < elements;) {
    int64_t next = -1;
    for (int64_t d = 0; d < dims; ++d) {
      if (sizes[d] > 1 && strides[d] == expected) next = d;
    }
    if (next < 0) return false;
    expected *= sizes[next];
  }
  return true;
}

// Through the shim, not the dispatcher as torch::stable::empty_like: a step makes hundreds of them.
Tensor new_like(const Tensor& dense) {
  const auto sizes = dense.sizes();
  int32_t type;
  AtenTensorHandle handle;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_dtype(dense.get(), &type));
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(
      sizes.size(), sizes.data(), dense.strides().data(), type, aoti_torch_device_type_cpu(), 0, &handle));
  return Tensor(handle);
}

Tensor laid_out_like(const Tensor& tensor, const Tensor& like) {
  const auto sizes = like.sizes(), wanted = like.strides(), strides = tensor.strides();
  bool same = true;
  for (size_t d = 0; d < sizes.size(); ++d) same = same && (sizes[d] <= 1 || strides[d] == wanted[d]);
  if (same) return tensor;
  Tensor copy = new_like(like);
  torch::stable::copy_(copy, tensor);
  return copy;
}

Tensor dense(const Tensor& tensor) {
  if (is_dense(tensor)) return tensor;
  return laid_out_like(tensor, torch::stable::empty_like(tensor));
}

} // namespace slopewise
