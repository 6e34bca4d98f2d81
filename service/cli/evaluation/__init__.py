"""`medqueue models evaluate`: scores labelled cases through the running service and compares the answers with the truth.

`labelled` and `indexed` read the cases, `scoring` has the service score them, `comparison` chooses what compares them
(`classes`, `numbers`, `tasks`, `entities`, `rankings`, `masks`, `boxes`, `beats`; `figures` is what these share), `report`
writes the HTML page, `command` is the command. `local` and `losses` do it in this process, for `medqueue models quantize`.
Needs the extra `evaluate`.
"""
