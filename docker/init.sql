-- Run once by the database image, in the new database. `ehrdb upgrade` does everything else.
create extension if not exists vector schema public;
create extension if not exists pg_cron;

-- Every night at two: ask for all patients to be checked. The worker embeds what changed; until ehrdb is
-- installed and the worker has run `ehrdb upgrade`, the job finds nothing to call and reports that.
select cron.schedule('ehrdb-refresh', '0 2 * * *', 'select ehr.request_refresh()');
