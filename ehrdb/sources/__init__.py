"""Sources: places where records live. Each is turned into one common stream; one merge does the rest."""

from ehrdb.sources.ehrshot import load_ehrshot
from ehrdb.sources.merge import LoadResult, TableReport
from ehrdb.sources.omop import OmopOptions, load_omop, load_omop_schema

__all__ = ["LoadResult", "OmopOptions", "TableReport", "load_ehrshot", "load_omop", "load_omop_schema"]
