"""The files of a batch: where its rows come from, how they are cut into chunks and read, and what is written of them.

`sources` opens the file, `formats` plans and reads it, `checking` checks its rows against the model, `outputs` and
`parts` write the outcome of a chunk, `joins` puts the parts together, `accounting` counts. Knows no tables, claims or
windows.
"""
