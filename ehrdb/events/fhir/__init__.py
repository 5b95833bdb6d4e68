"""FHIR R4: exports of Bulk Data (NDJSON) and bundles.

Resources are read one by one into staging tables; references, versions, visits and times are put together in SQL.
"""

from ehrdb.events.fhir.load import FhirOptions, load_fhir

__all__ = ["FhirOptions", "load_fhir"]
