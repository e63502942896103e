#include "tensors.h"

#include <numeric>

#include "layout.h"

namespace slopewise {

namespace {

double to_double(float value) { return value; }
double to_double(double value) { return value; }
double to_double(BFloat16 value) {
  return __builtin_bit_cast(float, static_cast<uint32_t>(value.bits) << 16);
}

void write(Tensor& tensor, const std::vector<double>& values) {
  if (tensor.scalar_type() == ScalarType::BFloat16) {
    Tensor wide = torch::stable::new_empty(tensor, tensor.sizes(), ScalarType::Float);
    write(wide, values);
    torch::stable::copy_(tensor, wide); // rounds to the nearest
    return;
  }
  if (tensor.scalar_type() == ScalarType::Double) {
    std::copy(values.begin(), values.end(), data<double>(tensor));
  } else {
    std::copy(values.begin(), values.end(), data<float>(tensor));
  }
}

} // namespace

Tensor new_tensor(int64_t dims, const int64_t* sizes, const int64_t* strides, int32_t type) {
  AtenTensorHandle handle;
  STABLE_TORCH_ERROR_CODE_CHECK(
      aoti_torch_empty_strided(dims, sizes, strides, type, aoti_torch_device_type_cpu(), 0, &handle));
  return Tensor(handle);
}

Tensor new_nothing() {
  constexpr int64_t size = 0, stride = 1;
  return new_tensor(1, &size, &stride, aoti_torch_dtype_float32());
}

Tensor new_bool(bool value) {
  Tensor result = new_tensor(0, nullptr, nullptr, aoti_torch_dtype_bool());
  *data<bool>(result) = value;
  return result;
}

std::vector<double> values(const std::optional<Tensor>& tensor, double missing) {
  if (!tensor) return {missing};
  const Tensor whole = tensor->is_contiguous() ? *tensor : torch::stable::contiguous(*tensor);
  std::vector<double> result(whole.numel());
  with_type(whole, [&](auto type) {
    const auto* source = data<decltype(type)>(whole);
    for (size_t i = 0; i < result.size(); ++i) result[i] = to_double(source[i]);
  });
  return result;
}

Tensor reduced_like(const Tensor& like, const std::vector<double>& values) {
  Tensor result = is_dense(like) ? new_like(like) : torch::stable::empty_like(like);
  const bool shared = like.numel() == 1 && values.size() != 1;
  write(result, shared ? std::vector<double>{std::accumulate(values.begin(), values.end(), 0.0)} : values);
  return result;
}

Tensor statistics(const Tensor& of, const std::vector<double>& values) {
  const bool wide = of.scalar_type() == ScalarType::Double;
  const int64_t size = values.size(), stride = 1;
  Tensor result = new_tensor(1, &size, &stride, wide ? aoti_torch_dtype_float64() : aoti_torch_dtype_float32());
  write(result, values);
  return result;
}

void check_channels(const std::optional<Tensor>& tensor, int64_t channels, bool may_be_shared, const char* name) {
  if (!tensor) return;
  const int64_t found = tensor->numel();
  STD_TORCH_CHECK(tensor->dim() <= 1, "slopewise: ", name, " is not a vector");
  STD_TORCH_CHECK(
      found == channels || (may_be_shared && found == 1), "slopewise: ", name, " has ", found,
      " values for an input of ", channels, " channels");
}

} // namespace slopewise
