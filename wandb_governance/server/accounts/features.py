"""``serverInfo``: what the SDK may use on this server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wandb_governance.server.graphql.schema import QUERY

if TYPE_CHECKING:
    from wandb_governance.server.context import Context
    from wandb_governance.server.graphql.schema import Args, Row

ENABLED = (
    "LARGE_FILENAMES", "ARTIFACT_TAGS", "CLIENT_IDS", "ARTIFACT_REGISTRY_SEARCH",
    "ARTIFACT_COLLECTION_MEMBERSHIP_FILES",
    "ARTIFACT_COLLECTION_MEMBERSHIP_FILE_DOWNLOAD_HANDLER", "USE_ARTIFACT_WITH_ENTITY_AND_PROJECT_INFORMATION",
    "AUTOMATION_EVENT_RUN_METRIC", "AUTOMATION_EVENT_RUN_METRIC_CHANGE", "AUTOMATION_ACTION_NO_OP",
    "INCLUDE_ARTIFACT_TYPES_IN_REGISTRY_CREATION", "PROJECT_ARTIFACT_COLLECTION_MEMBERSHIP",
    "ARTIFACT_MEMBERSHIP_IN_LINK_ARTIFACT_RESPONSE", "TOTAL_COUNT_IN_FILE_CONNECTION",
    "ARTIFACT_COLLECTIONS_FILTERING_SORTING", "ARTIFACT_V2_DOWNLOAD_HANDLER_SUPPORTS_ARTIFACT_ID",
    "AUTOMATION_EVENT_RUN_METRIC_ZSCORE", "AUTOMATION_EVENT_RUN_STATE", "AUTOMATION_EVENT_ADD_ARTIFACT_TAG",
    "AUTOMATION_EVENT_REMOVE_ARTIFACT_TAG", "AUTOMATION_EVENT_ADD_COLLECTION_TAG",
    "AUTOMATION_EVENT_REMOVE_COLLECTION_TAG", "AUTOMATION_EVENT_UNLINK_ARTIFACT", "AUTOMATIONS_ON_USER",
    "AUTOMATION_LAST_EXECUTED_AT", "MARK_RUN_FILES_UPLOADED", "SWEEPS_QUERY_FILTERING", "AUTOMATION_SCOPE_ENTITY",
    "QUERY_AUTOMATIONS_ON_ENTITY", "AUTOMATIONS_ON_ORGANIZATION", "FILESTREAM_GZIP", "SWEEPS_LOCAL_SCHEDULER",
)  # fmt: skip
"""Feature names of SDK 0.31.0 that this server keeps."""

DISABLED = (
    "STRUCTURED_CONSOLE_LOGS", "ARTIFACT_DIGEST_ALGORITHM", "AUTOMATION_ACTION_ARIA",
    "AUTOMATION_ACTION_PUSH_NOTIFICATION", "EVAL_TABLES_CES",
)  # fmt: skip
"""Feature names of SDK 0.31.0 that need services outside the protocol."""


@QUERY.field("serverInfo")
def server_info(_root: Row, _args: Args, _ctx: Context) -> Row:
    """Features, and the SDK versions that may connect."""
    features = [{"name": name, "isEnabled": True} for name in ENABLED]
    features += [{"name": name, "isEnabled": False} for name in DISABLED]
    return {
        "features": features,
        "cliVersionInfo": {"max_cli_version": "9.99.99", "min_cli_version": "0.28.0"},
        "latestLocalVersionInfo": None,
    }
