"""`medqueue batch`: submit files to score overnight, follow them, fetch their output, and schedule them.

`command` is the group, `submission` hands in, `work` is the options of what is to be done, `sources` where its rows come
from, `watching` follows, `downloads` fetches, `schedules` is for what is done by the clock, `tables` is what a reader sees.
"""
