"""A GraphQL executor without a schema: a field that no resolver knows is null and is counted."""
