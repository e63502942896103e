#include "layout.h"

#include <algorithm>
#include <numeric>

#include "tensors.h"

namespace slopewise {

using torch::stable::Tensor;

namespace {

// A stretch and its partners fit the second-level cache, and it is long enough to hide its start.
constexpr int64_t kStretch = 16384;
constexpr int64_t kRowsPerStretch = 64; // so that partial sums stay few beside the elements
constexpr int64_t kWidth = 256;         // of a period, at least: many rows of few channels run as one
constexpr int64_t kVector = 16;         // a period of whole vectors has no remainder
constexpr int64_t kSmallInner = 32;     // runs of one channel this short go by rows instead
constexpr int64_t kLongestRow = 16384;

int64_t rounded_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

} // namespace

Layout::Layout(const Tensor& tensor, int64_t channel_dim)
    : size_(tensor.numel()), channels_(1), inner_(size_), element_(tensor.element_size()), width_(kUsualWidth),
      length_(kStretch), last_(0), parts_(1), rows_(0), uniform_(true) {
  if (channel_dim >= 0) channels_ = tensor.size(channel_dim);
  if (size_ == 0) return;
  if (channels_ > 1) {
    const auto sizes = tensor.sizes(), strides = tensor.strides();
    inner_ = 1;
    for (size_t d = 0; d < sizes.size(); ++d) {
      if (sizes[d] > 1 && strides[d] < strides[channel_dim]) inner_ *= sizes[d];
    }
  }
  const int64_t row = channels_ * inner_;
  uniform_ = channels_ == 1 || (inner_ > 1 && (inner_ >= kSmallInner || row > kLongestRow));
  if (uniform_) {
    rows_ = size_ / row;
    parts_ = (inner_ + length_ - 1) / length_;
    last_ = inner_ - (parts_ - 1) * length_;
    return;
  }
  if (kUsualWidth % row != 0) {
    const int64_t unit = kVector / std::gcd(row, kVector);
    width_ = row * rounded_up(std::max<int64_t>(1, kWidth / row), unit);
  }
  length_ = rounded_up(std::max(kStretch, kRowsPerStretch * row), width_);
  rows_ = (size_ + length_ - 1) / length_;
  last_ = size_ - (rows_ - 1) * length_;
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

Tensor new_like(const Tensor& dense) {
  const auto sizes = dense.sizes();
  int32_t type;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_dtype(dense.get(), &type));
  return new_tensor(sizes.size(), sizes.data(), dense.strides().data(), type);
}

Tensor laid_out_like(const Tensor& tensor, const Tensor& like, const char* name) {
  STD_TORCH_CHECK(tensor.scalar_type() == like.scalar_type(), "slopewise: ", name, " differs in dtype from the input");
  STD_TORCH_CHECK(tensor.is_cpu(), "slopewise: ", name, " is not on the CPU");
  const auto sizes = like.sizes(), wanted = like.strides(), found = tensor.sizes(), strides = tensor.strides();
  bool fits = found.size() == sizes.size(), same = true;
  for (size_t d = 0; fits && d < sizes.size(); ++d) {
    fits = found[d] == sizes[d];
    same = same && (sizes[d] <= 1 || strides[d] == wanted[d]);
  }
  STD_TORCH_CHECK(fits, "slopewise: ", name, " differs in shape from the input");
  if (same) return tensor;
  Tensor copy = new_like(like);
  torch::stable::copy_(copy, tensor);
  return copy;
}

Tensor dense(const Tensor& tensor) {
  if (is_dense(tensor)) return tensor;
  return laid_out_like(tensor, torch::stable::empty_like(tensor), "the input");
}

} // namespace slopewise
