"""Names and places by a small model, offline (extra ``[ner]``)."""
