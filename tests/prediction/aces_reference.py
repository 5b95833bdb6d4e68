"""What es-aces says, asked in its own environment: one JSON question per line in, one answer per line out.

Run by the Python of an environment that has es-aces (EHRDB_ACES_PYTHON); it imports nothing of ehrdb.
"""

import json
import logging
import sys
import warnings
from pathlib import Path
from typing import Any

from aces import config, predicates, query
from omegaconf import DictConfig


def answer(question: dict[str, str]) -> dict[str, Any]:
    """Labels as [patient, prediction time, value], or the error that es-aces raises."""
    try:
        more = question.get("predicates")
        task = config.TaskExtractorConfig.load(Path(question["config"]), more and Path(more))
        data = DictConfig({"path": question["data"], "standard": "meds", "ts_format": None})
        found = query.query(task, predicates.get_predicates_df(task, data))
    except BaseException as error:  # whatever a library refuses with
        return {"error": f"{type(error).__name__}: {error}"}
    if not len(found):
        return {"labels": []}
    if missing := {"index_timestamp", "label"} - set(found.columns):
        return {"error": f"its rows have no {sorted(missing)[0]}"}
    # A trigger from which no window reaches its event stays as a row of nulls where it has a single window.
    rows = found.filter(found["trigger"].is_not_null()).select("subject_id", "index_timestamp", "label").rows()
    return {"labels": sorted([patient, str(moment), int(label > 0)] for patient, moment, label in rows)}


logging.disable(logging.CRITICAL)
warnings.simplefilter("ignore")
for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
