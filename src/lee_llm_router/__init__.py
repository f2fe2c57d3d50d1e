"""Lee LLM Router: ask for a role, get a whole answer or one typed error, and a trace of every attempt."""
