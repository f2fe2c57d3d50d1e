"""What the commands that ask a role share: their options, the question, and how they show the answer."""
