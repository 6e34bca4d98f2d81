"""The database schema, step by step. Alembic runs the files of versions/ in order."""
