#!/bin/sh
# `ehrdb` in the container, however it is called (exec, health check): the password comes from a file that no
# environment listing, image or log shows.
if [ -n "${EHRDB_PASSWORD_FILE:-}" ]; then
    PGPASSWORD=$(cat "$EHRDB_PASSWORD_FILE") || exit 2
    export PGPASSWORD
fi
exec /opt/ehrdb/venv/bin/ehrdb "$@"
