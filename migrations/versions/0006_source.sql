-- The last load of each source: a digest of its files and settings (null: not from files) and how many patients it
-- left. The same digest with as many patients still there is a load that would change nothing.

create table ehrdb.source (
    source   text primary key,
    digest   bytea,
    patients bigint not null
);
