"""Live checks of the doctor: servers, their lists of models, and one small question per target."""
