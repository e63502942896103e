"""Tables of results that exist already, judged as the records of a study are: nothing is trained, nothing is stored."""

from slopewise.tables._judge import judge as judge
from slopewise.tables._means import means_in as means_in
from slopewise.tables._table import Table as Table
from slopewise.tables._words import per_metric as per_metric
from slopewise.tables.sources import CsvSource as CsvSource
from slopewise.tables.sources import JsonLinesSource as JsonLinesSource
from slopewise.tables.sources import MLflowSource as MLflowSource
from slopewise.tables.sources import ParquetSource as ParquetSource
from slopewise.tables.sources import Request as Request
from slopewise.tables.sources import TableSource as TableSource
from slopewise.tables.sources import TensorBoardSource as TensorBoardSource
from slopewise.tables.sources import read_table as read_table
from slopewise.tables.sources import register_table_source as register_table_source
from slopewise.tables.sources import unregister_table_source as unregister_table_source
