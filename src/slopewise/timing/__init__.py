"""Times of candidates taken in turn, and ratios of them."""

from slopewise.timing._interleaved import Candidate as Candidate
from slopewise.timing._interleaved import Ratio as Ratio
from slopewise.timing._interleaved import interleaved as interleaved
from slopewise.timing._interleaved import ratio as ratio
from slopewise.timing._interleaved import using_threads as using_threads
