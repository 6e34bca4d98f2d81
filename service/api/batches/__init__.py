"""/v1/batches and /v1/batch-schedules."""
