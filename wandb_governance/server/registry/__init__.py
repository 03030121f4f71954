"""The Registry: registries are projects of the organisation's entity, their collections are portfolios."""
