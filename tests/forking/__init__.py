"""Commands and programs of ours that are forked from a process which has imported everything, instead of starting Python anew.

A stack of tests starts in a third of the CPU. Pids, signals, exit statuses, output and arguments are those of executed
programs; what forks is as it is: `make faults` and some tests of each part execute.
"""
