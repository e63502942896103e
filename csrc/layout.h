// How a tensor's memory is cut into spans for the loops of kernels.h.
//
// What is summed in one go depends on sizes and strides alone, never on the number of threads, and these sums are added
// in their order: that makes every result the same, bit for bit, with any number of threads.
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

// Channels that are worked on together: all of a tensor's, or neighbours whose elements one thread takes.
struct Region {
  int64_t first, count;
};

// What one call of a loop takes, a part of a region.
struct Stretch : Span {
  int64_t offset;  // of its first element in the tensor
  int64_t channel; // where its parameters begin in the array that `spread` made for the region
  int64_t place;   // of its first sum among those of the region
};

// A dense tensor of any dimension order is (outer, channels, inner) in memory. Channels-last and (N, C) tensors have
// inner = 1. Where inner is small, a stretch is some rows of channels * inner elements; else some channels' runs of inner
// elements or, where that is long, a part of one run. A "sum" below is one of a run, a part, or a stretch's channel.
class Layout {
 public:
  // `tensor` must be dense; a negative `channel_dim` is none: every element belongs to one channel.
  Layout(const torch::stable::Tensor& tensor, int64_t channel_dim);

  int64_t channels() const { return channels_; }
  int64_t per_channel() const { return size_ / std::max<int64_t>(1, channels_); }

  // Calls body(region) for the whole tensor or, at the same time, for regions that make up the whole: where a thread
  // can have channels of its own, it finishes some before the next, while they are in its cache.
  template <class Body>
  void each_region(const Body& body) const;
  Region whole() const { return {0, channels_}; }

  // What a loop takes by itself is a run, a part of one, or a span of periods: the number of these pieces, the first of
  // a stretch of the whole, and the elements of the longest.
  int64_t pieces() const { return uniform_ ? places(whole()) : rows_; }
  int64_t piece(const Stretch& stretch) const { return uniform_ ? stretch.place : stretch.place / channels_; }
  int64_t longest() const { return std::min(length_, uniform_ ? inner_ : size_); }
  int64_t width() const { return width_; }

  // values[0] or values[c] of a region's channels, as the loops read them: per channel if uniform, else over a period.
  // A region's own values are those of {0, region.count}.
  template <class A>
  Lanes<A> spread(const std::vector<double>& values, Region region) const;

  // Calls body(stretch) for all of a region, shared among torch's threads; `reversed`, from the last to the first. A
  // thread gets the same stretches either way: what it touched last is still in its cache when the next pass begins.
  template <class Body>
  void each(Region region, bool reversed, const Body& body) const;

  // Calls body(stretch, sums) likewise and returns `count` quantities: number k begins at k * places(region).
  template <class A, class Body>
  Lanes<A> sums(Region region, bool reversed, int64_t count, const Body& body) const;
  // Likewise one quantity whose largest value is kept instead of the sum. None is below 0.
  template <class A, class Body>
  Lanes<A> largest(Region region, const Body& body) const;
  int64_t places(Region region) const { return rows_ * region.count * parts_; }
  // Calls body(channel, members, place) for the place of every sum, of so many elements, in order; channels are counted
  // from the tensor's first.
  template <class Body>
  void each_sum(Region region, const Body& body) const;

  // What body(sums) gives of one quantity: one number for a run, or for each channel of a period.
  template <class A, class Body>
  Lanes<A> folded(const Body& body) const;
  // The means of what the sums of a stretch add up, as a loop reads them. In `memory`, which is used again and again.
  template <class A>
  const A* means(const Stretch& stretch, const A* sums, Lanes<A>& memory) const;

 private:
  // One number for each channel to a period's lanes, and the sums of a period's lanes to one for each channel.
  template <class A, class B>
  void over_period(const B* values, A* period) const;
  template <class A>
  void fold(const A* lanes, A* folded) const;
  int64_t stretches_per_row(Region region) const;
  Stretch at(Region region, int64_t index, int64_t ahead) const;
  // `each` with a body of every thread's own, which make_body() returns.
  template <class MakeBody>
  void share_out(Region region, bool reversed, const MakeBody& make_body) const;

  int64_t size_, channels_, inner_, element_; // the last in bytes
  int64_t width_;  // lanes
  int64_t length_; // elements of a stretch, about that if uniform
  int64_t last_;   // elements of the last stretch, of a run's last part if uniform
  int64_t parts_;  // of a run that is longer than a stretch
  int64_t rows_;   // the outer dimension if uniform, else the number of stretches
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
