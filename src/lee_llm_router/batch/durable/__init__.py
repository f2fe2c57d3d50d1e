"""Rows of a batch as durable workflows of DBOS, in a database that any number of workers share.

This folder imports `dbos` (the extra ``lee-llm-router[batch]``), so nobody imports it who does not ask for it.
"""
