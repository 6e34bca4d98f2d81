"""Makes search bundles: reads a collection of documents, divides it into passages, and writes an index and a manifest."""
