"""Write the 25 tasks of the UK Biobank kind into the package: `python docs/make_uk_biobank_tasks.py PHECODES.tsv`.

The table has a row for each endpoint: phecode, name, and icd10who, icd10cm, icd9cm: the codes of its phecode and those
below it (PhecodeX), parted by blanks. WHO's codes stand for themselves; a code that the table does not have counts by
its first three characters. Those of the clinical modifications stand for themselves alone.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).parents[1] / "ehrdb" / "prediction" / "uk_biobank.yaml"
HEAD = """\
# What the paper predicts in the UK Biobank, made by docs/make_uk_biobank_tasks.py from endpoints of PhecodeX.
# How it is asked, and of whom: ehrdb/prediction/uk_biobank.py.
"""
CATEGORY = 3
"""Characters by which a code of WHO's counts that the table does not have."""


def tasks(rows: list[dict[str, str]]) -> Iterator[dict[str, Any]]:
    """Death, hospitalization, and the first onset of each endpoint: its name, its question, its outcome."""
    known = {code for row in rows for code in row["icd10who"].split()}
    yield _task("death", "will the patient die within one year", {"event": "death"})
    yield _task(
        "hospitalization", "will the patient be admitted to the hospital within one year", {"event": "admission"}
    )
    for row in rows:
        yield _task(_key(row["name"]), f"has the patient {row['name'].lower()}", _codes(row, known))


def _task(name: str, question: str, outcome: dict[str, Any]) -> dict[str, Any]:
    return {"task": f"ukb_{name}", "question": question, "outcome": outcome}


def _codes(row: dict[str, str], known: set[str]) -> dict[str, list[str]]:
    own = row["icd10who"].split()
    whole = {code for code in own if len(code) == CATEGORY}
    alone = [code for code in own if code[:CATEGORY] not in whole]
    codes = [*(f"ICD10/{code}*" for code in sorted(whole)), *(f"ICD10/{code}" for code in alone)]
    codes += [f"{name}/{code}" for name in ("ICD10CM", "ICD9CM") for code in row[name.lower()].split()]
    others = sorted(f"ICD10/{code}" for code in known - set(own) if code[:CATEGORY] in whole)
    return {"codes": codes, **({"except": others} if others else {})}


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", re.sub(r" \[.*\]| \(.*\)", "", name.lower())).strip("_")


def main() -> None:
    """Read the table, write the file."""
    with Path(sys.argv[1]).open(encoding="utf-8", newline="") as table:
        declared = list(tasks(list(csv.DictReader(table, delimiter="\t"))))
    body = yaml.safe_dump(declared, sort_keys=False, default_flow_style=None, width=130)
    FILE.write_text(HEAD + body, encoding="utf-8")


if __name__ == "__main__":
    main()
