"""Jobs: claimed, scored in micro-batches, written back."""
