"""`make test-servers`: the tests on every PostgreSQL that can be had here, each time as an ordinary owner.

16 and 18 come with the embedded package. Another, with pgvector, is named by its superuser's URL, for example
EHRDB_TEST_URL_17=postgresql://postgres@localhost/postgres. Arguments are passed on to pytest.
"""

from __future__ import annotations

import os
import subprocess
import sys

VERSIONS = range(15, 19)
EMBEDDED = (16, 18)


def environment(version: int) -> dict[str, str] | None:
    """What makes the tests use that version; None where it is not to be had."""
    if url := os.environ.get(f"EHRDB_TEST_URL_{version}"):
        return {"EHRDB_TEST_DATABASE_URL": url}
    return {"EHRDB_TEST_POSTGRES": str(version)} if version in EMBEDDED else None


def main() -> int:
    """Run them all; 0 where none failed."""
    outcomes = {}
    for version in VERSIONS:
        chosen = environment(version)
        if chosen is None:
            outcomes[version] = f"not run: name a server in EHRDB_TEST_URL_{version}"
            continue
        command = [sys.executable, "-m", "pytest", *sys.argv[1:]]
        failed = subprocess.run(command, env=os.environ | chosen, check=False).returncode
        outcomes[version] = "failed" if failed else "passed"
    for version, outcome in outcomes.items():
        print(f"PostgreSQL {version}: {outcome}")
    return int("failed" in outcomes.values())


if __name__ == "__main__":
    sys.exit(main())
