"""What the doctor learns by asking: of servers, their lists of models, and one small question a target."""
