"""Side by side with the plain way: the same model, the same load, one machine, one run."""
