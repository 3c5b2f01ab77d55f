"""All tables by the value of --table."""

from experiments.reproduce.further_tables import FURTHER_TABLES
from experiments.reproduce.paper_tables import PAPER_TABLES

TABLES = {table.key: table for table in (*PAPER_TABLES, *FURTHER_TABLES)}
