-- A day of levels by buckets is read from this index alone: a sixth of the pages of the table.
CREATE INDEX levels_net_gex ON gex.levels (session_id, "time") INCLUDE (net_gex);
