"""Strangers' files are parsed in children that may die: how a child is started and limited, and what it may send back.

Knows no formats: a child runs a module's function `serve`, which gets a Channel to the process that asked.
"""
