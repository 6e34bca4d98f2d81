"""Image files are strangers', so no server reads one itself: children of service.parsing do.

`reading` is this side, `children` keeps the children apart by whose files they read, `child` is the other side.
"""
