"""What the commands share that ask a role: their options, what is asked, and how the answer is shown."""
