"""PostgreSQL and TimescaleDB: migrations, writing and reading, all SQL in sql/."""
