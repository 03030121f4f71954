"""HTTP: routes, authentication, limits, and the translation of every failure into a status the SDK won't retry."""
