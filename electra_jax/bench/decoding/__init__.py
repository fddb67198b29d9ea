"""How fast a model writes texts."""
