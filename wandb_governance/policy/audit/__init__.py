"""An audit log that shows when it was changed."""

from wandb_governance.policy.audit.log import AuditLog, read_records
from wandb_governance.policy.audit.verify import Report, check_proof, prove, verify

__all__ = ["AuditLog", "Report", "check_proof", "prove", "read_records", "verify"]
