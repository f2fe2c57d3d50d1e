"""One view of limits, doors and retry budgets across processes and hosts: the protocol and its implementations."""
