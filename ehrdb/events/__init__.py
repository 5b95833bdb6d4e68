"""Events: records from the places where they live. Each is turned into one common stream; one merge does the rest.

MEDS is in `ehrdb.events.meds`: it needs the extra `files`.
"""

from ehrdb.events.ehrshot import EhrshotOptions, load_ehrshot
from ehrdb.events.merge import LoadOptions, LoadResult, TableReport
from ehrdb.events.omop import ConceptField, DatePolicy, OmopOptions, load_omop, load_omop_schema

__all__ = [
    "ConceptField",
    "DatePolicy",
    "EhrshotOptions",
    "LoadOptions",
    "LoadResult",
    "OmopOptions",
    "TableReport",
    "load_ehrshot",
    "load_omop",
    "load_omop_schema",
]
