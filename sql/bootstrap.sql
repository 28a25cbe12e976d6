-- What must exist before the first migration: the schema and the record of migrations.
CREATE SCHEMA IF NOT EXISTS gex;
CREATE TABLE IF NOT EXISTS gex.migrations (
    version    integer     PRIMARY KEY,
    name       text        NOT NULL,
    checksum   text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
