"""Methods of forward calls only: they explain black boxes too."""
