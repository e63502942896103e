"""Sources of tables, each in a file of its own: CSV, Parquet, JSON Lines, TensorBoard and MLflow folders."""

from slopewise.tables.sources._base import Request as Request
from slopewise.tables.sources._base import TableSource as TableSource
from slopewise.tables.sources._base import Take as Take
from slopewise.tables.sources._csv import CsvSource as CsvSource
from slopewise.tables.sources._jsonl import JsonLinesSource as JsonLinesSource
from slopewise.tables.sources._mlflow import MLflowSource as MLflowSource
from slopewise.tables.sources._named import read_table as read_table
from slopewise.tables.sources._named import register_table_source as register_table_source
from slopewise.tables.sources._named import unregister_table_source as unregister_table_source
from slopewise.tables.sources._parquet import ParquetSource as ParquetSource
from slopewise.tables.sources._tensorboard import TensorBoardSource as TensorBoardSource
