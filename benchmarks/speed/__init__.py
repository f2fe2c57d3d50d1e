"""How much a call costs: subjects in processes of their own, measured in turn, held against bars."""
