"""`medqueue batch`: hand files in for a night, follow them, fetch what came of them, have it done again and again.

`command` is the group, `submission` hands in, `work` is the options of what is to be done, `sources` where its rows come
from, `watching` follows, `downloads` fetches, `schedules` is for what is done by the clock, `tables` is what a reader sees.
"""
