"""`medqueue models evaluate`: scores labelled cases through the running service and compares the answers with the truth.

`labelled` reads the cases, `scoring` has the service score them, `figures` compares, `report` writes the HTML page,
`command` is the command. Needs the extra `evaluate`.
"""
