-- The entries of a session from some moment on, and its first and last one, without reading all.
CREATE INDEX entries_session_time ON gex.entries (session_id, "time");
