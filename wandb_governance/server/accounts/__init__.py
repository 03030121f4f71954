"""Users, keys, entities, teams and the organisation."""
