"""What is worked out from the settings: whether they can work, how they are shown, which suit a machine."""
