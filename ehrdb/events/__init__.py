"""Events: records from the places where they live. Each is turned into one common stream; one merge does the rest."""

from ehrdb.events.ehrshot import load_ehrshot
from ehrdb.events.meds import MedsOptions, export_meds, load_meds
from ehrdb.events.merge import LoadResult, TableReport
from ehrdb.events.omop import ConceptField, DatePolicy, OmopOptions, load_omop, load_omop_schema

__all__ = [
    "ConceptField",
    "DatePolicy",
    "LoadResult",
    "MedsOptions",
    "OmopOptions",
    "TableReport",
    "export_meds",
    "load_ehrshot",
    "load_meds",
    "load_omop",
    "load_omop_schema",
]
