"""Cost of PReLU on this machine: `slopewise bench`, and the longer scripts in the source tree's benchmarks folder.

Figures are ratios within one run. Jobs of five kinds make measurements, from which tables, targets and answers follow.
"""

from slopewise.bench._converted import CONVERTED as CONVERTED
from slopewise.bench._converted import converted_jobs as converted_jobs
from slopewise.bench._functions import DTYPES as DTYPES
from slopewise.bench._functions import LAYOUTS as LAYOUTS
from slopewise.bench._kernels import SIZES as SIZES
from slopewise.bench._kernels import kernel_jobs as kernel_jobs
from slopewise.bench._machine import heading as heading
from slopewise.bench._machine import machine as machine
from slopewise.bench._measurement import Job as Job
from slopewise.bench._measurement import Measurement as Measurement
from slopewise.bench._measurement import run_jobs as run_jobs
from slopewise.bench._memory import memory_jobs as memory_jobs
from slopewise.bench._models import CONVOLUTIONS as CONVOLUTIONS
from slopewise.bench._models import FUSED as FUSED
from slopewise.bench._models import FUSED_LOW_MEMORY as FUSED_LOW_MEMORY
from slopewise.bench._models import NETWORKS as NETWORKS
from slopewise.bench._models import PRELU as PRELU
from slopewise.bench._models import RELU as RELU
from slopewise.bench._models import UNFUSED as UNFUSED
from slopewise.bench._models import build as build
from slopewise.bench._networks import network_jobs as network_jobs
from slopewise.bench._own import gain as gain
from slopewise.bench._own import mean_square as mean_square
from slopewise.bench._own import own_jobs as own_jobs
from slopewise.bench._short import answers as answers
from slopewise.bench._short import short_jobs as short_jobs
from slopewise.bench._steps import FAULTS as FAULTS
from slopewise.bench._steps import with_memory_kept as with_memory_kept
from slopewise.bench._table import print_findings as print_findings
from slopewise.bench._table import print_measurements as print_measurements
from slopewise.bench._targets import TARGETS as TARGETS
from slopewise.bench._targets import judge as judge
from slopewise.bench._watching import WATCHED as WATCHED
from slopewise.bench._watching import watching_jobs as watching_jobs
from slopewise.timing import using_threads as using_threads
