"""A batch's file is parsed in a child, since its bytes are a stranger's: see service.parsing.

`reading` is this side, `child` the other, `wire` what goes between them.
"""
