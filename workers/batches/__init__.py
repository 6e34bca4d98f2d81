"""Batches: their steps and chunks, processed by a thread that polls for work."""
