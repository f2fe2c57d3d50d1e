"""One view of limits, doors and retry budgets over processes and hosts: the protocol, and what speaks it."""
