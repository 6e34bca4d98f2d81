"""`medqueue models refit`: makes a new version of a published model from labelled rows, measures it, and publishes it."""
