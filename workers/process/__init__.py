"""A worker process: its parts, its start and stop, its consumer of messages and its periodic work."""
