"""Batch rows as durable DBOS workflows, in a database that any number of workers share.

This folder imports `dbos` (the extra ``lee-llm-router[batch]``), so it is imported only on demand.
"""
