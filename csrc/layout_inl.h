// The templates of layout.h.
#pragma once

#include <torch/csrc/stable/ops.h>

#include <algorithm>

namespace slopewise {

// A NaN stays, whichever of the two it is.
template <class A>
A larger(A value, A so_far) {
  return value > so_far || value != value ? value : so_far;
}

constexpr int64_t kGrain = 32768; // elements that are worth a thread: what torch's own elementwise loops take

template <class A>
Lanes<A> Layout::spread(const std::vector<double>& values) const {
  Lanes<A> period(uniform_ ? channels_ : width_);
  for (size_t i = 0; i < period.size(); ++i) {
    const int64_t c = values.size() == 1 ? 0 : uniform_ ? static_cast<int64_t>(i) : lane_channel(i);
    period[i] = static_cast<A>(values[c]);
  }
  return period;
}

// Of a known length: the compiler unrolls it.
template <int64_t kHalf, class A>
A halved(A* lanes) {
  for (int64_t lane = 0; lane < kHalf; ++lane) lanes[lane] += lanes[lane + kHalf];
  if constexpr (kHalf > 1) return halved<kHalf / 2>(lanes);
  return lanes[0];
}

template <class A>
void Layout::fold(A* lanes, A* folded) const {
  if (uniform_) { // in halves: a sum in one row would wait for every addition
    folded[0] = halved<kUsualWidth / 2>(lanes);
    return;
  }
  std::fill_n(folded, channels_, A(0));
  for (int64_t lane = 0; lane < width_;) {
    for (int64_t c = 0; c < channels_; ++c) {
      for (int64_t i = 0; i < inner_; ++i, ++lane) folded[c] += lanes[lane];
    }
  }
}

template <class A>
void Layout::unfold(const A* folded, A* lanes) const {
  if (uniform_) {
    lanes[0] = folded[0]; // all that a uniform stretch's loops read
    return;
  }
  for (int64_t lane = 0; lane < width_;) {
    for (int64_t c = 0; c < channels_; ++c) {
      for (int64_t i = 0; i < inner_; ++i, ++lane) lanes[lane] = folded[c];
    }
  }
}

template <class A>
void Layout::fold_largest(const A* lanes, A* folded) const {
  std::fill_n(folded, sums_per_stretch(), A(0));
  for (int64_t lane = 0; lane < width_; ++lane) {
    A& largest = folded[uniform_ ? 0 : lane_channel(lane)];
    largest = larger(lanes[lane], largest);
  }
}

inline Stretch Layout::at(int64_t index) const {
  Stretch stretch{index, index * length_, 0, 0, 0};
  if (uniform_) {
    const int64_t run = index / parts_;
    stretch.part = index % parts_;
    stretch.channel = run % channels_;
    stretch.offset = run * inner_ + stretch.part * length_;
  }
  stretch.size = size_of(stretch);
  return stretch;
}

inline void Layout::move(Stretch& stretch, int64_t by) const {
  if (by > 0) stretch.offset += stretch.size;
  stretch.index += by;
  if (uniform_) {
    stretch.part += by;
    if (stretch.part == parts_ || stretch.part < 0) {
      stretch.part = by > 0 ? 0 : parts_ - 1;
      stretch.channel += by;
      if (stretch.channel == channels_) stretch.channel = 0;
      if (stretch.channel < 0) stretch.channel = channels_ - 1;
    }
  }
  stretch.size = size_of(stretch);
  if (by < 0) stretch.offset -= stretch.size;
}

template <class A, class Body>
void Layout::each(bool reversed, int64_t sums, const Body& body) const {
  const int64_t elements = std::max<int64_t>(1, uniform_ ? std::min(length_, inner_) : length_);
  const int64_t grain = std::max<int64_t>(1, kGrain / elements);
  torch::stable::parallel_for(0, stretches_, grain, [&](int64_t begin, int64_t end) {
    Lanes<A> lanes(sums * width_);
    Stretch stretch = at(reversed ? end - 1 : begin);
    for (int64_t left = end - begin; left > 0; --left) {
      body(stretch, lanes.data());
      if (left > 1) move(stretch, reversed ? -1 : 1);
    }
  });
}

template <class Body>
void Layout::each_sum(const Body& body) const {
  if (stretches_ == 0) return;
  const int64_t count = sums_per_stretch();
  Stretch stretch = at(0);
  for (int64_t place = 0; place < stretches_ * count; move(stretch, 1)) {
    for (int64_t j = 0; j < count; ++j, ++place) body(stretch.channel + j, stretch, place);
  }
}

} // namespace slopewise
