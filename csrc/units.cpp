// What a tensor says of each of its units, the entries of one dimension: counts and sums over all others, in one pass
// over memory. Each result is a float64 matrix with a column for each unit.
#include <torch/csrc/stable/library.h>

#include <atomic>
#include <tuple>

#include "layout.h"
#include "tensors.h"

namespace slopewise {
namespace {

Tensor new_bytes(int64_t count) {
  const int64_t stride = 1;
  return new_tensor(1, &count, &stride, aoti_torch_dtype_uint8());
}

Layout layout_of(const Tensor& tensor, int64_t axis) {
  if (tensor.dim() == 0) return Layout(tensor, -1);
  const int64_t dim = axis < 0 ? axis + tensor.dim() : axis;
  STD_TORCH_CHECK(dim >= 0 && dim < tensor.dim(), "slopewise: the input has no dimension ", axis);
  return Layout(tensor, dim);
}

struct Rows {
  Tensor tensor;
  double* values;
  int64_t units;

  Rows(int64_t count, int64_t units) : tensor(new_matrix(count, units)), values(data<double>(tensor)), units(units) {
    std::fill_n(values, count * units, 0.0);
  }
  double& at(int64_t row, int64_t unit) { return values[row * units + unit]; }

 private:
  static Tensor new_matrix(int64_t count, int64_t units) {
    const int64_t sizes[] = {count, units}, strides[] = {std::max<int64_t>(1, units), 1};
    return new_tensor(2, sizes, strides, aoti_torch_dtype_float64());
  }
};

// body(stretch, sums) gives `count` quantities: they end in the rows from `first` on.
template <class A, class Body>
void add_up(const Layout& layout, int64_t count, Rows& rows, int64_t first, const Body& body) {
  const int64_t places = layout.places(layout.whole());
  const auto partial = layout.sums<A>(layout.whole(), false, count, body);
  for (int64_t k = 0; k < count; ++k) {
    layout.each_sum(layout.whole(), [&](int64_t unit, int64_t, int64_t place) {
      rows.at(first + k, unit) += partial[k * places + place];
    });
  }
}

Tensor unit_signs(const Tensor& given, int64_t axis) {
  const Tensor z = dense(given);
  const Layout layout = layout_of(z, axis);
  Rows rows(2, layout.channels());
  with_type(z, [&](auto type) {
    using T = decltype(type);
    const auto& kernels = pick<T>(capability());
    const T* from = data<T>(z);
    add_up<Compute<T>>(layout, 2, rows, 0, [&](const Stretch& s, auto sums) {
      kernels.signs(s, from + s.offset, sums);
    });
  });
  for (int64_t c = 0; c < rows.units; ++c) rows.at(1, c) = rows.at(1, c) != 0;
  return rows.tensor;
}

// Signs are kept in the order of the layout's pieces, each of which has as many bytes as the longest.
int64_t bytes_per_piece(const Layout& layout) { return sign_bytes(layout.longest(), layout.width()); }

// The rows of unit_signs, and the signs; none where a value is not finite, the memory of z has gaps, or runs are so
// short that the signs would take more than half of it.
std::tuple<Tensor, Tensor> unit_signs_kept(const Tensor& z, int64_t axis) {
  if (!is_dense(z)) return {unit_signs(z, axis), new_bytes(0)};
  const Layout layout = layout_of(z, axis);
  const int64_t bytes = bytes_per_piece(layout);
  const int64_t most = z.numel() * static_cast<int64_t>(z.element_size()) / 2;
  if (bytes * layout.pieces() > most) return {unit_signs(z, axis), new_bytes(0)};
  Rows rows(2, layout.channels());
  Tensor kept = new_bytes(bytes * layout.pieces());
  with_type(z, [&](auto type) {
    using T = decltype(type);
    const auto& kernels = pick<T>(capability());
    const T* from = data<T>(z);
    uint8_t* to = data<uint8_t>(kept);
    add_up<Compute<T>>(layout, 2, rows, 0, [&](const Stretch& s, auto sums) {
      kernels.signs_kept(s, from + s.offset, to + layout.piece(s) * bytes, sums);
    });
  });
  bool finite = true;
  for (int64_t c = 0; c < rows.units; ++c) {
    rows.at(1, c) = rows.at(1, c) != 0;
    finite = finite && rows.at(1, c) == 0;
  }
  return {rows.tensor, finite ? kept : new_bytes(0)};
}

// Most units are reached by the first values that one looks at, and what lies in a reached unit is not read.
Tensor unit_reached(const Tensor& given, int64_t axis) {
  const Tensor grad = dense(given);
  const Layout layout = layout_of(grad, axis);
  std::vector<std::atomic<bool>> reached(layout.channels());
  with_type(grad, [&](auto type) {
    using T = decltype(type);
    using A = Compute<T>;
    const auto& kernels = pick<T>(capability());
    const T* from = data<T>(grad);
    layout.each(layout.whole(), false, [&](const Stretch& s) {
      // A run has one unit, a period all of them.
      const int64_t units = s.uniform ? 1 : layout.channels();
      for (int64_t run = 0; run < s.runs; ++run) {
        const int64_t unit = s.channel + run;
        int64_t missing = 0; // the first of these units that no value has reached
        const auto advance = [&] {
          while (missing < units && reached[unit + missing].load(std::memory_order_relaxed)) ++missing;
          return missing < units;
        };
        Span span = s;
        span.runs = 1;
        for (int64_t start = 0, next = s.width; start < s.size && advance(); start += next, next *= 2) {
          span.size = std::min(next, s.size - start);
          const auto found = layout.folded<A>([&](Sums<A> sums) {
            kernels.magnitudes(span, from + s.offset + run * s.size + start, sums);
          });
          for (int64_t j = missing; j < units; ++j) {
            if (found[j] != 0) reached[unit + j].store(true, std::memory_order_relaxed);
          }
        }
      }
    });
  });
  const int64_t units = layout.channels(), stride = 1;
  Tensor result = new_tensor(1, &units, &stride, aoti_torch_dtype_float64());
  std::copy(reached.begin(), reached.end(), data<double>(result));
  return result;
}

Tensor unit_squares(const Tensor& grad_z, const Tensor& grad_y, int64_t axis) {
  const Tensor sources[] = {dense(grad_z), dense(grad_y)};
  const Layout layouts[] = {layout_of(sources[0], axis), layout_of(sources[1], axis)};
  STD_TORCH_CHECK(layouts[0].channels() == layouts[1].channels(), "slopewise: the gradients differ in their units");
  Rows rows(2, layouts[0].channels());
  for (int64_t k = 0; k < 2; ++k) {
    const Layout& layout = layouts[k];
    with_type(sources[k], [&](auto type) {
      using T = decltype(type);
      const auto& kernels = pick<T>(capability());
      const T* from = data<T>(sources[k]);
      add_up<Compute<T>>(layout, 1, rows, k, [&](const Stretch& s, auto sums) {
        kernels.squares(s, from + s.offset, nullptr, sums);
      });
    });
  }
  return rows.tensor;
}

// Checks that `kept` are the signs of a tensor laid out as `grad` is.
Layout layout_kept(const Tensor& kept, const Tensor& grad, int64_t axis) {
  STD_TORCH_CHECK(is_dense(grad), "slopewise: the gradient has gaps");
  const Layout layout = layout_of(grad, axis);
  STD_TORCH_CHECK(
      kept.scalar_type() == ScalarType::Byte && kept.is_contiguous() &&
          kept.numel() == bytes_per_piece(layout) * layout.pieces(),
      "slopewise: the signs are those of another tensor");
  return layout;
}

// Two sums over the gradient and the kept signs, by the loop that `choose` takes from the kernels.
template <class Choose>
Rows sums_kept(const Layout& layout, const Tensor& kept, const Tensor& grad, const Choose& choose) {
  const int64_t bytes = bytes_per_piece(layout);
  const uint8_t* signs = data<uint8_t>(kept);
  Rows rows(2, layout.channels());
  with_type(grad, [&](auto type) {
    using T = decltype(type);
    const auto loop = choose(pick<T>(capability()));
    const T* from = data<T>(grad);
    add_up<Compute<T>>(layout, 2, rows, 0, [&](const Stretch& s, auto sums) {
      loop(s, signs + layout.piece(s) * bytes, from + s.offset, sums);
    });
  });
  return rows;
}

Tensor unit_squares_kept(const Tensor& kept, const Tensor& grad, int64_t axis) {
  const Layout layout = layout_kept(kept, grad, axis);
  return sums_kept(layout, kept, grad, [](const auto& kernels) { return kernels.squares_kept; }).tensor;
}

Tensor unit_behind_kept(const Tensor& kept, const Tensor& grad, const Tensor& slopes, int64_t axis) {
  const Layout layout = layout_kept(kept, grad, axis);
  check_channels(slopes, layout.channels(), true, "the slope");
  Rows squares = sums_kept(layout, kept, grad, [](const auto& kernels) { return kernels.split_squares_kept; });
  const auto reached = [](Rows& sums, int64_t c, double a) {
    return sums.at(0, c) != 0 || (a != 0 && sums.at(1, c) != 0);
  };
  const std::vector<double> slope = values(slopes);
  Rows rows(3, layout.channels());
  bool all = true;
  for (int64_t c = 0; c < rows.units; ++c) {
    const double a = slope[slope.size() == 1 ? 0 : c], above = squares.at(0, c), below = squares.at(1, c);
    rows.at(0, c) = reached(squares, c, a);
    rows.at(1, c) = above + a * a * below;
    rows.at(2, c) = above + below;
    all = all && rows.at(0, c) != 0;
  }
  if (all) return rows.tensor;
  // The squares of small values are 0.
  Rows magnitudes = sums_kept(layout, kept, grad, [](const auto& kernels) { return kernels.split_magnitudes_kept; });
  for (int64_t c = 0; c < rows.units; ++c) rows.at(0, c) = reached(magnitudes, c, slope[slope.size() == 1 ? 0 : c]);
  return rows.tensor;
}

Tensor unit_behind(const Tensor& given, const Tensor& grad_y, const Tensor& slopes, int64_t axis) {
  const Tensor source = dense(given);
  const Tensor grad = laid_out_like(grad_y, source, "the gradient");
  const Layout layout = layout_of(source, axis);
  check_channels(slopes, layout.channels(), true, "the slope");
  Rows sums(4, layout.channels()), rows(3, layout.channels());
  with_type(source, [&](auto type) {
    using T = decltype(type);
    const auto& kernels = pick<T>(capability());
    const T* z = data<T>(source);
    const T* g = data<T>(grad);
    add_up<Compute<T>>(layout, 4, sums, 0, [&](const Stretch& s, auto added) {
      kernels.split_squares(s, z + s.offset, g + s.offset, added);
    });
  });
  const std::vector<double> slope = values(slopes);
  for (int64_t c = 0; c < rows.units; ++c) {
    const double a = slope[slope.size() == 1 ? 0 : c], above = sums.at(0, c), below = sums.at(2, c);
    rows.at(0, c) = sums.at(1, c) != 0 || (a != 0 && sums.at(3, c) != 0);
    rows.at(1, c) = above + a * a * below;
    rows.at(2, c) = above + below;
  }
  return rows.tensor;
}

} // namespace
} // namespace slopewise

STABLE_TORCH_LIBRARY_IMPL(slopewise, CPU, m) {
  m.impl("unit_signs", TORCH_BOX(&slopewise::unit_signs));
  m.impl("unit_reached", TORCH_BOX(&slopewise::unit_reached));
  m.impl("unit_squares", TORCH_BOX(&slopewise::unit_squares));
  m.impl("unit_behind", TORCH_BOX(&slopewise::unit_behind));
  m.impl("unit_signs_kept", TORCH_BOX(&slopewise::unit_signs_kept));
  m.impl("unit_squares_kept", TORCH_BOX(&slopewise::unit_squares_kept));
  m.impl("unit_behind_kept", TORCH_BOX(&slopewise::unit_behind_kept));
}
