// How a tensor's memory is cut into stretches for the loops of kernels.h.
//
// The cut depends on sizes and strides alone, never on the number of threads, and sums over stretches are added in
// their order: that makes every result the same, bit for bit, with any number of threads.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cstdint>
#include <new>
#include <vector>

#include "kernels.h"

namespace slopewise {

// Memory that begins on a vector's boundary: loads and stores across cache lines cost twice.
template <class A>
struct Aligned {
  using value_type = A;
  static constexpr std::align_val_t kBoundary{64};
  Aligned() = default;
  template <class B>
  Aligned(const Aligned<B>&) {}
  A* allocate(size_t n) { return static_cast<A*>(::operator new(n * sizeof(A), kBoundary)); }
  void deallocate(A* memory, size_t) { ::operator delete(memory, kBoundary); }
  friend bool operator==(const Aligned&, const Aligned&) { return true; }
};

template <class A>
using Lanes = std::vector<A, Aligned<A>>;

// Some elements that one call of a loop takes. Those after it in order come after it in memory.
struct Stretch {
  int64_t index, offset, size;
  int64_t channel; // of its first sum, and where its parameters begin in the array that `spread` made
  int64_t part;    // if uniform, its number within the channel's run
};

// A dense tensor of any dimension order is (outer, channels, inner) in memory. Channels-last and (N, C) tensors have
// inner = 1. Where inner is small, a stretch is some rows of channels * inner elements; else a part of one channel.
class Layout {
 public:
  // `tensor` must be dense; a negative `channel_dim` is none: every element belongs to one channel.
  Layout(const torch::stable::Tensor& tensor, int64_t channel_dim);

  int64_t channels() const { return channels_; }
  int64_t per_channel() const { return size_ / std::max<int64_t>(1, channels_); }
  int64_t width() const { return width_; }
  bool uniform() const { return uniform_; }
  int64_t stretches() const { return stretches_; }

  // One value per channel, or one for all, as the loops read them: per channel if uniform, else over a period.
  template <class A>
  Lanes<A> spread(const std::vector<double>& values) const;

  // Partial sums: `lanes` to one number for each channel that a stretch holds. The lanes are used up.
  int64_t sums_per_stretch() const { return uniform_ ? 1 : channels_; }
  template <class A>
  void fold(A* lanes, A* folded) const;
  // The inverse: each lane gets its channel's number.
  template <class A>
  void unfold(const A* folded, A* lanes) const;
  template <class A>
  void fold_largest(const A* lanes, A* folded) const;
  // How many elements of each of its channels a stretch holds: it is whole rows, or within one channel.
  int64_t members(const Stretch& stretch) const { return stretch.size / sums_per_stretch(); }

  // Runs body(stretch, lanes) for all, shared among torch's threads, `reversed` from the last to the first. A thread
  // gets the same stretches either way: what it touched last is still in its cache when the next pass begins there.
  // `lanes` is `sums` * width() numbers of the thread's own, not cleared.
  template <class A, class Body>
  void each(bool reversed, int64_t sums, const Body& body) const;
  // Runs body(channel, stretch, place) for every folded sum, in order: `place` is its place among all of them.
  template <class Body>
  void each_sum(const Body& body) const;

 private:
  int64_t lane_channel(int64_t lane) const { return lane / inner_ % channels_; }
  Stretch at(int64_t index) const;
  // To the next stretch, or with -1 to the one before. Without divisions: a stretch may be a few dozen elements.
  void move(Stretch& stretch, int64_t by) const;
  int64_t size_of(const Stretch& stretch) const {
    return (uniform_ ? stretch.part == parts_ - 1 : stretch.index == stretches_ - 1) ? last_ : length_;
  }

  int64_t size_, channels_, inner_;
  int64_t width_;     // lanes of a stretch's sums
  int64_t length_;    // elements of a whole stretch
  int64_t last_;      // elements of the last one, of each channel's run if uniform
  int64_t parts_;     // stretches of one channel's run, if uniform
  int64_t stretches_;
  bool uniform_;
};

// Whether the elements fill their memory without gaps or overlaps, in whatever order of dimensions.
bool is_dense(const torch::stable::Tensor& tensor);
// A new tensor with the sizes, strides and type of a dense one.
torch::stable::Tensor new_like(const torch::stable::Tensor& dense);
// `tensor` itself, or a copy, with the strides of `like`, which is dense. They must agree in sizes and dtype: `name`
// is what an error calls the tensor.
torch::stable::Tensor laid_out_like(
    const torch::stable::Tensor& tensor, const torch::stable::Tensor& like, const char* name);
// `tensor` itself if dense, else a dense copy in the same order of dimensions.
torch::stable::Tensor dense(const torch::stable::Tensor& tensor);

} // namespace slopewise

#include "layout_inl.h"
