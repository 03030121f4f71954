"""Artifacts: collections, versions, aliases, manifests, files, lineage."""
