// What a tensor says of each of its units, the entries of one dimension: counts and sums over all others, in one pass
// over memory. They are added to `sums`, a float64 matrix with a column for each unit and the rows of `Row`.
#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <optional>

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

enum Row { kPositive, kNaN, kNotFinite, kReached, kBehind, kBefore, kRows };

// A call's own sums, of which `add_to` adds all to those that were given.
struct Rows {
  int64_t count, units;
  std::vector<double> values;

  Rows(int64_t count, int64_t units) : count(count), units(units), values(count * units) {}
  double& at(int64_t row, int64_t unit) { return values[row * units + unit]; }

  void add_to(const Tensor& sums, int64_t first) const {
    double* to = data<double>(sums) + first * units;
    for (size_t i = 0; i < values.size(); ++i) to[i] += values[i];
  }
};

void check_sums(const Tensor& sums, const Layout& layout) {
  STD_TORCH_CHECK(
      sums.is_cpu() && sums.is_contiguous() && sums.scalar_type() == ScalarType::Double &&
          sums.numel() == kRows * layout.channels(),
      "slopewise: the sums are no float64 matrix with ", int64_t(kRows), " rows and a column for each unit");
}

// body(stretch, sums) gives `rows.count` quantities.
template <class A, class Body>
void add_up(const Layout& layout, Rows& rows, const Body& body) {
  const int64_t places = layout.places(layout.whole());
  const auto partial = layout.sums<A>(layout.whole(), false, rows.count, body);
  for (int64_t k = 0; k < rows.count; ++k) {
    layout.each_sum(layout.whole(), [&](int64_t unit, int64_t, int64_t place) {
      rows.at(k, unit) += partial[k * places + place];
    });
  }
}

// Signs are kept in the order of the layout's pieces, each of which has as many bytes as the longest.
int64_t bytes_per_piece(const Layout& layout) { return sign_bytes(layout.longest(), layout.width()); }

// Returns the signs if they are to be kept; none where a value is not finite, the memory of z has gaps, or runs are so
// short that the signs would take more than half of it.
Tensor add_unit_signs(const Tensor& sums, const Tensor& given, int64_t axis, bool keep) {
  const Tensor z = dense(given);
  const Layout layout = layout_of(z, axis);
  check_sums(sums, layout);
  const int64_t bytes = bytes_per_piece(layout), all = bytes * layout.pieces();
  keep = keep && is_dense(given) && all <= z.numel() * static_cast<int64_t>(z.element_size()) / 2;
  Tensor kept = new_bytes(keep ? all : 0);
  Rows signs(2, layout.channels()), rows(3, layout.channels());
  with_type(z, [&](auto type) {
    using T = decltype(type);
    using A = Compute<T>;
    const auto& kernels = pick<T>(capability());
    const T* from = data<T>(z);
    uint8_t* to = data<uint8_t>(kept);
    add_up<A>(layout, signs, [&](const Stretch& s, auto added) {
      if (keep) kernels.signs_kept(s, from + s.offset, to + layout.piece(s) * bytes, added);
      else kernels.signs(s, from + s.offset, added);
    });
    bool finite = true;
    for (int64_t c = 0; c < rows.units; ++c) {
      rows.at(kPositive, c) = signs.at(0, c);
      rows.at(kNotFinite, c) = signs.at(1, c) != 0;
      finite = finite && signs.at(1, c) == 0;
    }
    if (finite) return;
    kept = new_bytes(0);
    Rows nans(1, layout.channels());
    add_up<A>(layout, nans, [&](const Stretch& s, auto added) { kernels.nans(s, from + s.offset, added); });
    for (int64_t c = 0; c < rows.units; ++c) rows.at(kNaN, c) = nans.at(0, c);
  });
  rows.add_to(sums, kPositive);
  return kept;
}

// Most units are reached by the first values that one looks at, and what lies in a reached unit is not read.
void add_unit_reached(const Tensor& sums, const Tensor& given, int64_t axis) {
  const Tensor grad = dense(given);
  const Layout layout = layout_of(grad, axis);
  check_sums(sums, layout);
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
  double* row = data<double>(sums) + kReached * layout.channels();
  for (int64_t c = 0; c < layout.channels(); ++c) row[c] += reached[c].load(std::memory_order_relaxed);
}

// Either gradient may be missing: its row stays as it is.
void add_unit_squares(
    const Tensor& sums, const std::optional<Tensor>& grad_z, const std::optional<Tensor>& grad_y, int64_t axis) {
  for (const Row row : {kBehind, kBefore}) {
    const auto& given = row == kBehind ? grad_z : grad_y;
    if (!given) continue;
    const Tensor source = dense(*given);
    const Layout layout = layout_of(source, axis);
    check_sums(sums, layout);
    Rows squares(1, layout.channels());
    with_type(source, [&](auto type) {
      using T = decltype(type);
      const auto& kernels = pick<T>(capability());
      const T* from = data<T>(source);
      add_up<Compute<T>>(layout, squares, [&](const Stretch& s, auto added) {
        kernels.squares(s, from + s.offset, nullptr, added);
      });
    });
    squares.add_to(sums, row);
  }
}

// Checks that `kept` are the signs of a tensor laid out as `grad` is.
Layout layout_kept(const Tensor& sums, const Tensor& kept, const Tensor& grad, int64_t axis) {
  STD_TORCH_CHECK(is_dense(grad), "slopewise: the gradient has gaps");
  const Layout layout = layout_of(grad, axis);
  check_sums(sums, layout);
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
    add_up<Compute<T>>(layout, rows, [&](const Stretch& s, auto added) {
      loop(s, signs + layout.piece(s) * bytes, from + s.offset, added);
    });
  });
  return rows;
}

void add_unit_squares_kept(const Tensor& sums, const Tensor& kept, const Tensor& grad, int64_t axis) {
  const Layout layout = layout_kept(sums, kept, grad, axis);
  sums_kept(layout, kept, grad, [](const auto& kernels) { return kernels.squares_kept; }).add_to(sums, kBehind);
}

// The rows from kReached on of what is above 0 and of the rest, each multiplied by the unit's slope.
template <class Reached>
Rows behind(const Tensor& slopes, int64_t units, const Reached& sums_of) {
  check_channels(slopes, units, true, "the slope");
  const std::vector<double> slope = values(slopes);
  Rows rows(3, units);
  for (int64_t c = 0; c < units; ++c) {
    const double a = slope[slope.size() == 1 ? 0 : c];
    const auto [above, below, some_above, some_below] = sums_of(c);
    rows.at(0, c) = some_above != 0 || (a != 0 && some_below != 0);
    rows.at(1, c) = above + a * a * below;
    rows.at(2, c) = above + below;
  }
  return rows;
}

void add_unit_behind_kept(
    const Tensor& sums, const Tensor& kept, const Tensor& grad, const Tensor& slopes, int64_t axis) {
  const Layout layout = layout_kept(sums, kept, grad, axis);
  Rows squares = sums_kept(layout, kept, grad, [](const auto& kernels) { return kernels.split_squares_kept; });
  const auto by = [&](Rows& some) {
    return behind(slopes, layout.channels(), [&](int64_t c) {
      return std::array{squares.at(0, c), squares.at(1, c), some.at(0, c), some.at(1, c)};
    });
  };
  Rows rows = by(squares);
  if (std::find(rows.values.begin(), rows.values.begin() + rows.units, 0.0) != rows.values.begin() + rows.units) {
    // The squares of small values are 0.
    Rows magnitudes = sums_kept(layout, kept, grad, [](const auto& kernels) { return kernels.split_magnitudes_kept; });
    rows = by(magnitudes);
  }
  rows.add_to(sums, kReached);
}

void add_unit_behind(
    const Tensor& sums, const Tensor& given, const Tensor& grad_y, const Tensor& slopes, int64_t axis) {
  const Tensor source = dense(given);
  const Tensor grad = laid_out_like(grad_y, source, "the gradient");
  const Layout layout = layout_of(source, axis);
  check_sums(sums, layout);
  Rows split(4, layout.channels());
  with_type(source, [&](auto type) {
    using T = decltype(type);
    const auto& kernels = pick<T>(capability());
    const T* z = data<T>(source);
    const T* g = data<T>(grad);
    add_up<Compute<T>>(layout, split, [&](const Stretch& s, auto added) {
      kernels.split_squares(s, z + s.offset, g + s.offset, added);
    });
  });
  behind(slopes, layout.channels(), [&](int64_t c) {
    return std::array{split.at(0, c), split.at(2, c), split.at(1, c), split.at(3, c)};
  }).add_to(sums, kReached);
}

} // namespace
} // namespace slopewise

STABLE_TORCH_LIBRARY_IMPL(slopewise, CPU, m) {
  m.impl("add_unit_signs", TORCH_BOX(&slopewise::add_unit_signs));
  m.impl("add_unit_reached", TORCH_BOX(&slopewise::add_unit_reached));
  m.impl("add_unit_squares", TORCH_BOX(&slopewise::add_unit_squares));
  m.impl("add_unit_behind", TORCH_BOX(&slopewise::add_unit_behind));
  m.impl("add_unit_squares_kept", TORCH_BOX(&slopewise::add_unit_squares_kept));
  m.impl("add_unit_behind_kept", TORCH_BOX(&slopewise::add_unit_behind_kept));
}
