"""Sources: places where records live. Each is turned into one common stream; one merge does the rest."""

from ehrdb.sources.ehrshot import load_ehrshot
from ehrdb.sources.merge import LoadResult, TableReport

__all__ = ["LoadResult", "TableReport", "load_ehrshot"]
