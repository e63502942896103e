// The templates of layout.h.
#pragma once

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <limits>

namespace slopewise {

constexpr int64_t kGrain = 32768; // elements that are worth a thread: what torch's own elementwise loops take
constexpr int64_t kPage = 4096;   // bytes

template <class Body>
void Layout::each_region(const Body& body) const {
  const int64_t threads = torch::stable::get_num_threads();
  const int64_t share = (channels_ + threads - 1) / threads;
  // A thread without work costs more than the cache gives.
  if (!uniform_ || 4 * share * threads > 5 * channels_) {
    body(whole());
    return;
  }
  const int64_t run = std::max<int64_t>(1, inner_ * element_);
  const int64_t together = (kPage + run - 1) / run;
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, per_channel()));
  torch::stable::parallel_for(0, channels_, grain, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; c += together) body(Region{c, std::min(together, end - c)});
  });
}

// The one quiet NaN for any: the rounding to bfloat16 relies on that.
template <class A>
A rounded(double value) {
  return value != value ? std::numeric_limits<A>::quiet_NaN() : static_cast<A>(value);
}

template <class A, class B>
void Layout::over_period(const B* values, A* period) const {
  for (int64_t lane = 0; lane < width_;) {
    for (int64_t c = 0; c < channels_; ++c) {
      for (int64_t i = 0; i < inner_; ++i, ++lane) period[lane] = rounded<A>(values[c]);
    }
  }
}

template <class A>
Lanes<A> Layout::spread(const std::vector<double>& values, Region region) const {
  const int64_t size = uniform_ ? region.count : width_;
  if (values.size() == 1) return Lanes<A>(size, rounded<A>(values[0]));
  Lanes<A> result(size);
  if (uniform_) std::transform(&values[region.first], &values[region.first] + size, result.begin(), rounded<A>);
  else over_period(values.data(), result.data());
  return result;
}

template <class A>
void Layout::fold(const A* lanes, A* folded) const {
  std::fill_n(folded, channels_, A(0));
  for (int64_t lane = 0; lane < width_;) {
    for (int64_t c = 0; c < channels_; ++c) {
      for (int64_t i = 0; i < inner_; ++i, ++lane) folded[c] += lanes[lane];
    }
  }
}

template <class A, class Body>
Lanes<A> Layout::folded(const Body& body) const {
  Lanes<A> lanes(width_, A(0));
  body(Sums<A>{lanes.data(), width_});
  if (uniform_) return lanes; // the first one is the run's
  Lanes<A> result(channels_);
  fold(lanes.data(), result.data());
  return result;
}

template <class A>
const A* Layout::means(const Stretch& stretch, const A* sums, Lanes<A>& memory) const {
  const int64_t count = uniform_ ? stretch.runs : channels_, members = stretch.size / (uniform_ ? 1 : channels_);
  memory.resize(count + width_);
  A* means = memory.data() + width_;
  if (uniform_) std::copy_n(sums, count, means);
  else fold(sums, means);
  for (int64_t j = 0; j < count; ++j) means[j] /= members;
  if (uniform_) return means;
  over_period(means, memory.data());
  return memory.data();
}

inline int64_t Layout::stretches_per_row(Region region) const {
  if (!uniform_) return 1;
  const int64_t runs = std::max<int64_t>(1, length_ / std::max<int64_t>(1, inner_));
  return parts_ > 1 ? region.count * parts_ : (region.count + runs - 1) / runs;
}

inline Stretch Layout::at(Region region, int64_t index, int64_t ahead) const {
  if (!uniform_) {
    const int64_t size = index == rows_ - 1 ? last_ : length_;
    return {{size, 1, width_, ahead, false}, index * length_, 0, index * channels_};
  }
  const int64_t per_row = stretches_per_row(region), row = index / per_row, number = index % per_row;
  const int64_t begin = (row * channels_ + region.first) * inner_;
  if (parts_ > 1) {
    const int64_t channel = number / parts_, part = number % parts_, size = part == parts_ - 1 ? last_ : length_;
    return {{size, 1, width_, ahead, true}, begin + channel * inner_ + part * length_, channel, index};
  }
  const int64_t together = std::max<int64_t>(1, length_ / inner_), channel = number * together;
  const int64_t runs = std::min(together, region.count - channel);
  return {{inner_, runs, width_, ahead, true}, begin + channel * inner_, channel, row * region.count + channel};
}

template <class MakeBody>
void Layout::share_out(Region region, bool reversed, const MakeBody& make_body) const {
  const int64_t per_row = stretches_per_row(region), stretches = rows_ * per_row;
  const bool apart = region.count < channels_ && per_row == 1; // its rows do not follow one another
  const int64_t row = channels_ * inner_ * element_;
  const int64_t ahead = apart ? (reversed ? -row : row) : kPage;
  const int64_t elements = rows_ > 0 ? places(region) * std::min(length_, inner_) / stretches : 1;
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, uniform_ ? elements : length_));
  torch::stable::parallel_for(0, stretches, grain, [&](int64_t begin, int64_t end) {
    auto body = make_body();
    for (int64_t done = 0; done < end - begin; ++done) {
      body(at(region, reversed ? end - 1 - done : begin + done, ahead));
    }
  });
}

template <class Body>
void Layout::each(Region region, bool reversed, const Body& body) const {
  share_out(region, reversed, [&] { return [&](const Stretch& s) { body(s); }; });
}

template <class A, class Body>
Lanes<A> Layout::sums(Region region, bool reversed, int64_t count, const Body& body) const {
  const int64_t places = this->places(region);
  Lanes<A> result(count * places);
  if (uniform_) {
    each(region, reversed, [&](const Stretch& s) { body(s, Sums<A>{result.data() + s.place, places}); });
    return result;
  }
  share_out(region, reversed, [&] {
    return [&, lanes = Lanes<A>(count * width_)](const Stretch& s) mutable {
      std::fill(lanes.begin(), lanes.end(), A(0));
      body(s, Sums<A>{lanes.data(), width_});
      for (int64_t k = 0; k < count; ++k) fold(lanes.data() + k * width_, result.data() + k * places + s.place);
    };
  });
  return result;
}

template <class A, class Body>
Lanes<A> Layout::largest(Region region, const Body& body) const {
  if (uniform_) return sums<A>(region, false, 1, body);
  Lanes<A> result(places(region), A(0));
  share_out(region, false, [&] {
    return [&, lanes = Lanes<A>(width_)](const Stretch& s) mutable {
      std::fill(lanes.begin(), lanes.end(), A(0));
      body(s, Sums<A>{lanes.data(), width_});
      for (int64_t lane = 0; lane < width_; ++lane) {
        A& so_far = result[s.place + lane / inner_ % channels_];
        so_far = std::max(so_far, lanes[lane]);
      }
    };
  });
  return result;
}

template <class Body>
void Layout::each_sum(Region region, const Body& body) const {
  int64_t place = 0;
  for (int64_t row = 0; row < rows_; ++row) {
    const int64_t members = uniform_ ? inner_ : (row == rows_ - 1 ? last_ : length_) / channels_;
    for (int64_t c = region.first; c < region.first + region.count; ++c) {
      if (parts_ == 1) {
        body(c, members, place++);
      } else {
        for (int64_t part = 1; part <= parts_; ++part) body(c, part == parts_ ? last_ : length_, place++);
      }
    }
  }
}

} // namespace slopewise
