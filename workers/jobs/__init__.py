"""Jobs: claiming, scoring in micro-batches, writing back."""
