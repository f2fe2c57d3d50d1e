"""What all settings models share."""
