"""Batches: their steps and chunks, worked on by a thread that looks for work itself."""
