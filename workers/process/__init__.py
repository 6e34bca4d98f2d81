"""A worker process: its parts, its start and stop, what it consumes and what it does periodically."""
