"""Sources: places where records live. Each is turned into one common stream; one merge does the rest."""

from ehrdb.sources.ehrshot import load_ehrshot
from ehrdb.sources.labels import export_labels, export_predictions, load_labels
from ehrdb.sources.meds import MedsOptions, export_meds, load_meds
from ehrdb.sources.merge import LoadResult, TableReport
from ehrdb.sources.omop import ConceptField, DatePolicy, OmopOptions, load_omop, load_omop_schema

__all__ = [
    "ConceptField",
    "DatePolicy",
    "LoadResult",
    "MedsOptions",
    "OmopOptions",
    "TableReport",
    "export_labels",
    "export_meds",
    "export_predictions",
    "load_ehrshot",
    "load_labels",
    "load_meds",
    "load_omop",
    "load_omop_schema",
]
