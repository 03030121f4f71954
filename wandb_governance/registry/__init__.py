"""Who may let a version into a stage, and on what evidence.

In: ``governance.yaml``, a candidate in the W&B Registry, its evaluation artifact, approvals.
Out: an alias that moved (or did not), entries of a signed ledger, outbox rows for roll-out, lineage and evidence.
"""
