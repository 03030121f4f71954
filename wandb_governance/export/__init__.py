"""How do rows reach W&B? Journal records in, tables, charts and a summary out."""
