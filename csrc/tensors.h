// Between tensors and plain memory: typed pointers, per-channel values, checks.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <optional>
#include <vector>

#include "kernels.h"

namespace slopewise {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

template <class T>
T* data(const Tensor& tensor) {
  return static_cast<T*>(tensor.data_ptr());
}

// Calls body(T{}) for the type that the tensor's elements are stored in.
template <class Body>
auto with_type(const Tensor& tensor, const Body& body) {
  switch (tensor.scalar_type()) {
    case ScalarType::Float:
      return body(float{});
    case ScalarType::BFloat16:
      return body(BFloat16{});
    case ScalarType::Double:
      return body(double{});
    default:
      STD_TORCH_CHECK(false, "slopewise: the kernels take float32, bfloat16 and float64 tensors");
  }
}

// A new tensor on the CPU. Through the shim and not, as torch::stable::new_empty, the dispatcher: a training step makes
// hundreds. `type` is the shim's number.
Tensor new_tensor(int64_t dims, const int64_t* sizes, const int64_t* strides, int32_t type);
// A new one without elements, and one of a single bool without dimensions.
Tensor new_nothing();
Tensor new_bool(bool value);

// The values of a small tensor, whatever its type; `missing` once for none.
std::vector<double> values(const std::optional<Tensor>& tensor, double missing = 0);
// A new tensor of the shape and type of `like`: values[c], or their sum in rising order where `like` has one element.
Tensor reduced_like(const Tensor& like, const std::vector<double>& values);
// A new vector in the type that statistics of `of` are kept in: float32, or float64 for float64.
Tensor statistics(const Tensor& of, const std::vector<double>& values);

void check_channels(const std::optional<Tensor>& tensor, int64_t channels, bool may_be_shared, const char* name);

} // namespace slopewise
