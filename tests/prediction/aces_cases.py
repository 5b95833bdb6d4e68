"""Random records and configurations of ACES, and a file of them with what es-aces says.

`python -m tests.prediction.aces_cases` writes that file anew; it needs EHRDB_ACES_PYTHON, the Python of an environment
that has es-aces.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from ehrdb.frames import Kinds

KEPT = Path(__file__).parents[1] / "golden" / "aces.json"
Event = tuple[int, int | None, str, float | None, str | None]
"""Patient, minute (None: a fact without a time), code, value, unit."""
Config = dict[str, Any]
START = datetime(2020, 1, 1)
PLAIN = ("a", "b", "c", "d")
SPANS = ("30 minutes", "1h", "90m", "2 hours", "1 day", "1 day 12 hours", "3d", "1 week", "1:30:00", "0.5 days")

codes = st.sampled_from(["A", "B", "C//x", "C//y", "D", "S"])
events = st.tuples(
    st.integers(1, 2),
    st.one_of(*[st.integers(0, 100).map(lambda n: n * 30)] * 3, st.integers(0, 6 * 1440), st.none()),
    codes,
    st.sampled_from([None, 0.0, 1.0, 3.9, 4.0, float("nan")]),
    st.sampled_from([None, "mg", "g"]),
)
# Somebody whom every static predicate lets in: es-aces counts otherwise where a data set has a single moment.
ANYWAY: list[Event] = [(9, None, "S", None, None), (9, 0, "Z", None, None), (9, 900_000, "Z", None, None)]
records = st.lists(events, min_size=15, max_size=40).map(lambda drawn: [*drawn, *ANYWAY])


@st.composite
def plain_predicates(draw: st.DrawFn) -> Config:
    """A code, several, or a regular expression; now and then with bounds or a unit."""
    code = st.one_of(
        codes,
        st.lists(codes, min_size=2, max_size=4).map(lambda drawn: {"any": drawn}),
        st.sampled_from(["C", "^C//", "[AB]$", "(?i)^c//X", r"^\w$", "A|D", "//(x|y)$", r"\bx\b"]).map(
            lambda drawn: {"regex": drawn}
        ),
    )
    found: Config = {"code": draw(code)}
    for bound in ("value_min", "value_max"):
        if draw(st.integers(0, 7)) == 0:
            found |= {bound: draw(st.sampled_from([0, 1, 3.9, 4])), f"{bound}_inclusive": draw(st.booleans())}
    if draw(st.integers(0, 9)) == 0:
        found["unit"] = draw(st.sampled_from(["mg", "g"]))
    return found


def _expression(draw: st.DrawFn, names: list[str]) -> Config:
    inputs = draw(st.lists(st.sampled_from(names), min_size=2, max_size=3))
    return {"expr": f"{draw(st.sampled_from(['or', 'or', 'and']))}({', '.join(inputs)})"}


@st.composite
def configs(draw: st.DrawFn) -> Config:
    """A configuration with one label and one index_timestamp."""
    predicates = {name: draw(plain_predicates()) for name in PLAIN}
    names = list(PLAIN)
    config: Config = {"predicates": predicates}
    if draw(st.integers(0, 5)) == 0:
        config["patient_demographics"] = {"s": {"code": "S"}}
    for name in ("e", "f"):
        extra = ["s"] if "patient_demographics" in config else []
        predicates[name] = _expression(draw, [*names, *extra])
        names.append(name)
    config["trigger"] = draw(st.sampled_from([*names, "_ANY_EVENT", "_RECORD_START", "_RECORD_END"]))
    config["windows"] = windows = _windows(draw, names)
    windows[draw(st.sampled_from(list(windows)))]["label"] = draw(st.sampled_from(names))
    clear = [name for name, window in windows.items() if not (window["start"] or "").startswith("end -")]
    windows[draw(st.sampled_from(clear or list(windows)))]["index_timestamp"] = draw(st.sampled_from(["start", "end"]))
    return config


def _windows(draw: st.DrawFn, names: list[str]) -> Config:
    places, windows = ["trigger"], {}
    for number in range(draw(st.integers(1, 3))):
        window = _boundaries(draw, draw(st.sampled_from(places)), names)
        window |= {side: draw(st.booleans()) for side in ("start_inclusive", "end_inclusive")}
        if draw(st.integers(0, 4)) == 0:
            held = draw(st.sampled_from([*names, "_ANY_EVENT", "_RECORD_START", "_RECORD_END"]))
            bounds = ["(1, None)", "(None, 0)", "(None, 2)", "(2, 5)", "(0, None)"]
            window["has"] = {held: draw(st.sampled_from(bounds))}
        windows[f"window_{number}"] = window
        places += [f"window_{number}.start", f"window_{number}.end"]
    return windows


def _boundaries(draw: st.DrawFn, place: str, names: list[str]) -> Config:
    """Of its two boundaries one is counted from `place`, the other from that one."""
    event = st.sampled_from([*names, "_ANY_EVENT"])
    root = draw(
        st.one_of(
            st.just(place),
            st.just(place),
            st.sampled_from(SPANS[:5]).map(lambda span: f"{place} + {span}"),
            st.sampled_from(SPANS[:5]).map(lambda span: f"{place} - {span}"),
            event.map(lambda name: f"{place} -> {name}"),
            event.map(lambda name: f"{place} <- {name}"),
            st.sampled_from([f"{place} -> _RECORD_END", f"{place} <- _RECORD_START"]),
        )
    )
    span = st.sampled_from(SPANS)
    if draw(st.booleans()):
        ends = st.one_of(st.none(), span.map(lambda s: f"start + {s}"), event.map(lambda name: f"start -> {name}"))
        return {"start": root, "end": draw(ends)}
    starts = st.one_of(st.none(), span.map(lambda s: f"end - {s}"), event.map(lambda name: f"end <- {name}"))
    return {"start": draw(starts), "end": root}


@contextmanager
def es_aces(folder: Path) -> Iterator[Any]:
    """A function that asks es-aces for a configuration's labels on records."""
    script = Path(__file__).with_name("aces_reference.py")
    python = os.environ["EHRDB_ACES_PYTHON"]
    with subprocess.Popen([python, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        questions, answers = process.stdin, process.stdout

        def ask(config: Config, drawn: list[Event]) -> dict[str, Any]:
            (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
            write_meds(folder / "data.parquet", drawn)
            asked = {"config": str(folder / "config.yaml"), "data": str(folder / "data.parquet")}
            questions.write(json.dumps(asked) + "\n")
            questions.flush()
            found: dict[str, Any] = json.loads(answers.readline())
            return found

        yield ask
        questions.close()


def write_meds(file: Path, drawn: list[Event]) -> None:
    """Records as one shard of MEDS."""
    rows = [(patient, None if minute is None else moment(minute), *rest) for patient, minute, *rest in drawn]
    kinds: Kinds = {
        "subject_id": pl.Int64,
        "time": pl.Datetime("us"),
        "code": pl.String,
        "numeric_value": pl.Float32,
        "unit": pl.String,
    }
    pl.DataFrame(rows, schema=kinds, orient="row").sort("subject_id", "time", nulls_last=False).write_parquet(file)


def moment(minute: int) -> datetime:
    """That minute of the made-up records."""
    return START + timedelta(minutes=minute)


def _write_kept() -> None:
    kept: list[Config] = []
    with tempfile.TemporaryDirectory() as folder, es_aces(Path(folder)) as ask:

        @seed(2025)
        @settings(
            max_examples=1500,
            deadline=None,
            phases=[Phase.generate],
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(configs(), records)
        def collect(config: Config, drawn: list[Event]) -> None:
            found = ask(config, drawn)
            values = [value for _, _, value in found.get("labels", [])]
            windows = config["windows"].values()
            index = next(window for window in windows if "index_timestamp" in window)
            if (index["start"] or "").startswith("end -"):
                return  # refused here
            if len(values) > 2 and len(set(values)) == 2:
                kept.append({"config": config, "records": drawn, **found})

        collect()
    text = ",\n".join(json.dumps(case, separators=(",", ":")) for case in kept[:60])
    KEPT.write_text(f"[{text}]\n")


if __name__ == "__main__":
    _write_kept()
