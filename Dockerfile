# Two images from one file: the database (PostgreSQL 17 with pgvector and pg_cron) and the worker.
FROM postgres:17-trixie AS database
RUN apt-get update \
 && apt-get install --yes --no-install-recommends postgresql-17-pgvector postgresql-17-cron \
 && rm -rf /var/lib/apt/lists/*

FROM python:3.11-slim AS worker
WORKDIR /opt/ehrdb
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY ehrdb ehrdb
COPY migrations migrations
COPY sql sql
# The worker runs encoders; exporting them needs the export extra, on a machine of your choice.
RUN pip install --no-cache-dir -c constraints.txt '.[cpu]' \
 && useradd --create-home --uid 10001 ehrdb \
 && install -d -o ehrdb /var/lib/ehrdb
USER ehrdb
ENV EHRDB_HOME=/var/lib/ehrdb
CMD ["ehrdb", "worker"]
