"""The tables. Each entry of ``_STEPS`` brings the file from one schema version to the next and is never edited later.

Times are integer nanoseconds since 1970 UTC; columns that end in ``_json`` hold JSON text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wandb_governance.errors import ServerError

if TYPE_CHECKING:
    import sqlite3

_ACCOUNTS = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE organization (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, display_name TEXT, created_at INTEGER NOT NULL);
CREATE TABLE entity (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL CHECK (kind IN ('user', 'team', 'org')),
  organization_id INTEGER REFERENCES organization(id), created_at INTEGER NOT NULL);
CREATE TABLE user (
  id INTEGER PRIMARY KEY, username TEXT NOT NULL UNIQUE, name TEXT NOT NULL, email TEXT,
  entity_id INTEGER NOT NULL REFERENCES entity(id), default_entity_id INTEGER REFERENCES entity(id),
  admin INTEGER NOT NULL DEFAULT 0, service INTEGER NOT NULL DEFAULT 0, created_at INTEGER NOT NULL,
  deleted_at INTEGER);
CREATE TABLE api_key (
  id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES user(id), digest TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL, description TEXT, created_at INTEGER NOT NULL);
CREATE TABLE team_member (
  entity_id INTEGER NOT NULL REFERENCES entity(id), user_id INTEGER NOT NULL REFERENCES user(id),
  role TEXT NOT NULL DEFAULT 'member', PRIMARY KEY (entity_id, user_id)) WITHOUT ROWID;
CREATE TABLE organization_member (
  organization_id INTEGER NOT NULL REFERENCES organization(id), user_id INTEGER NOT NULL REFERENCES user(id),
  role TEXT NOT NULL DEFAULT 'member', PRIMARY KEY (organization_id, user_id)) WITHOUT ROWID;
CREATE TABLE invite (
  id INTEGER PRIMARY KEY, entity_id INTEGER NOT NULL REFERENCES entity(id), email TEXT,
  user_id INTEGER REFERENCES user(id), admin INTEGER NOT NULL DEFAULT 0, created_at INTEGER NOT NULL);
CREATE TABLE project (
  id INTEGER PRIMARY KEY, entity_id INTEGER NOT NULL REFERENCES entity(id), name TEXT NOT NULL, description TEXT,
  access TEXT NOT NULL DEFAULT 'PRIVATE', views_json TEXT, is_benchmark INTEGER NOT NULL DEFAULT 0,
  allow_all_types INTEGER NOT NULL DEFAULT 1, user_id INTEGER REFERENCES user(id),
  created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, UNIQUE (entity_id, name));
CREATE TABLE project_member (
  project_id INTEGER NOT NULL REFERENCES project(id) ON DELETE CASCADE,
  kind TEXT NOT NULL CHECK (kind IN ('user', 'team')),
  member_id INTEGER NOT NULL, role TEXT NOT NULL, PRIMARY KEY (project_id, kind, member_id)) WITHOUT ROWID;
"""

_RUNS = """
CREATE TABLE sweep (
  id INTEGER PRIMARY KEY, project_id INTEGER NOT NULL REFERENCES project(id) ON DELETE CASCADE, name TEXT NOT NULL,
  display_name TEXT, description TEXT, config TEXT NOT NULL, state TEXT NOT NULL, controller_json TEXT,
  scheduler_json TEXT, controller_run_name TEXT, prior_runs_filters_json TEXT, user_id INTEGER REFERENCES user(id),
  created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, heartbeat_at INTEGER, UNIQUE (project_id, name));
CREATE TABLE sweep_agent (
  id INTEGER PRIMARY KEY, sweep_id INTEGER NOT NULL REFERENCES sweep(id) ON DELETE CASCADE, name TEXT NOT NULL,
  host TEXT, unconfirmed_run_id INTEGER, created_at INTEGER NOT NULL, heartbeat_at INTEGER NOT NULL);
CREATE TABLE run (
  id INTEGER PRIMARY KEY, project_id INTEGER NOT NULL REFERENCES project(id) ON DELETE CASCADE, name TEXT NOT NULL,
  display_name TEXT NOT NULL, description TEXT, notes TEXT, group_name TEXT, job_type TEXT, state TEXT NOT NULL,
  started INTEGER NOT NULL DEFAULT 0, config_json TEXT NOT NULL DEFAULT '{}', summary_json TEXT NOT NULL DEFAULT '{}',
  tags_json TEXT NOT NULL DEFAULT '[]', git_commit TEXT, git_repo TEXT, host TEXT, program TEXT,
  user_id INTEGER REFERENCES user(id), sweep_id INTEGER REFERENCES sweep(id) ON DELETE SET NULL,
  agent_id INTEGER REFERENCES sweep_agent(id) ON DELETE SET NULL, queue_item TEXT, search_info_json TEXT,
  exit_code INTEGER, stop_requested INTEGER NOT NULL DEFAULT 0, early_stopped INTEGER NOT NULL DEFAULT 0,
  history_lines INTEGER NOT NULL DEFAULT 0, last_step INTEGER NOT NULL DEFAULT -1,
  keys_stale INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, heartbeat_at INTEGER NOT NULL, UNIQUE (project_id, name));
CREATE INDEX run_by_sweep ON run (sweep_id) WHERE sweep_id IS NOT NULL;
CREATE INDEX run_by_state ON run (state, heartbeat_at);
CREATE TABLE history (
  run_id INTEGER NOT NULL REFERENCES run(id) ON DELETE CASCADE, line INTEGER NOT NULL, step INTEGER NOT NULL,
  row_json TEXT NOT NULL, PRIMARY KEY (run_id, line)) WITHOUT ROWID;
CREATE INDEX history_by_step ON history (run_id, step);
CREATE TABLE history_key (
  run_id INTEGER NOT NULL REFERENCES run(id) ON DELETE CASCADE, key TEXT NOT NULL, type TEXT NOT NULL,
  count INTEGER NOT NULL, monotonic INTEGER NOT NULL, previous REAL, PRIMARY KEY (run_id, key, type)) WITHOUT ROWID;
CREATE TABLE stream_line (
  run_id INTEGER NOT NULL REFERENCES run(id) ON DELETE CASCADE, stream TEXT NOT NULL, line INTEGER NOT NULL,
  content TEXT NOT NULL, received_at INTEGER NOT NULL, PRIMARY KEY (run_id, stream, line)) WITHOUT ROWID;
CREATE TABLE run_file (
  id INTEGER PRIMARY KEY, run_id INTEGER NOT NULL REFERENCES run(id) ON DELETE CASCADE, name TEXT NOT NULL,
  sha256 TEXT, md5 TEXT, size INTEGER NOT NULL DEFAULT 0, updated_at INTEGER NOT NULL, UNIQUE (run_id, name));
CREATE TABLE alert (
  id INTEGER PRIMARY KEY, run_id INTEGER NOT NULL REFERENCES run(id) ON DELETE CASCADE, title TEXT NOT NULL,
  text TEXT NOT NULL, severity TEXT NOT NULL, created_at INTEGER NOT NULL);
CREATE TABLE sweep_queue (
  id INTEGER PRIMARY KEY, sweep_id INTEGER NOT NULL REFERENCES sweep(id) ON DELETE CASCADE,
  run_id INTEGER NOT NULL REFERENCES run(id) ON DELETE CASCADE, handed_out_at INTEGER);
"""

_ARTIFACTS = """
CREATE TABLE blob (sha256 TEXT PRIMARY KEY, md5 TEXT NOT NULL, size INTEGER NOT NULL, created_at INTEGER NOT NULL)
  WITHOUT ROWID;
CREATE INDEX blob_by_md5 ON blob (md5);
CREATE TABLE artifact_type (
  id INTEGER PRIMARY KEY, project_id INTEGER NOT NULL REFERENCES project(id) ON DELETE CASCADE, name TEXT NOT NULL,
  description TEXT, declared INTEGER NOT NULL DEFAULT 0, created_at INTEGER NOT NULL, UNIQUE (project_id, name));
CREATE TABLE collection (
  id INTEGER PRIMARY KEY, project_id INTEGER NOT NULL REFERENCES project(id) ON DELETE CASCADE,
  type_id INTEGER NOT NULL REFERENCES artifact_type(id), kind TEXT NOT NULL CHECK (kind IN ('sequence', 'portfolio')),
  name TEXT NOT NULL, description TEXT, client_id TEXT, next_version INTEGER NOT NULL DEFAULT 0,
  user_id INTEGER REFERENCES user(id), created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL,
  UNIQUE (project_id, name));
CREATE INDEX collection_by_client ON collection (client_id) WHERE client_id IS NOT NULL;
CREATE TABLE artifact (
  id INTEGER PRIMARY KEY, sequence_id INTEGER NOT NULL REFERENCES collection(id) ON DELETE CASCADE,
  type_id INTEGER NOT NULL REFERENCES artifact_type(id), version_index INTEGER,
  state TEXT NOT NULL CHECK (state IN ('PENDING', 'COMMITTED', 'DELETED')), digest TEXT NOT NULL,
  digest_algorithm TEXT NOT NULL, description TEXT, metadata_json TEXT, client_id TEXT, distributed_id TEXT,
  ttl_seconds INTEGER, history_step INTEGER, pending_aliases_json TEXT NOT NULL DEFAULT '[]', commit_hash TEXT,
  run_id INTEGER REFERENCES run(id) ON DELETE SET NULL, user_id INTEGER REFERENCES user(id), base_id INTEGER,
  manifest_sha256 TEXT, size INTEGER NOT NULL DEFAULT 0, file_count INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, committed_at INTEGER);
CREATE INDEX artifact_by_sequence ON artifact (sequence_id, version_index);
CREATE INDEX artifact_by_client ON artifact (client_id) WHERE client_id IS NOT NULL;
CREATE INDEX artifact_by_run ON artifact (run_id) WHERE run_id IS NOT NULL;
CREATE TABLE manifest (
  id INTEGER PRIMARY KEY, artifact_id INTEGER NOT NULL REFERENCES artifact(id) ON DELETE CASCADE, name TEXT NOT NULL,
  type TEXT NOT NULL, digest TEXT NOT NULL, base_artifact_id INTEGER, sha256 TEXT, created_at INTEGER NOT NULL);
CREATE INDEX manifest_by_artifact ON manifest (artifact_id);
CREATE TABLE membership (
  id INTEGER PRIMARY KEY, collection_id INTEGER NOT NULL REFERENCES collection(id) ON DELETE CASCADE,
  artifact_id INTEGER NOT NULL REFERENCES artifact(id) ON DELETE CASCADE, version_index INTEGER NOT NULL,
  created_at INTEGER NOT NULL, UNIQUE (collection_id, artifact_id), UNIQUE (collection_id, version_index));
CREATE INDEX membership_by_artifact ON membership (artifact_id);
CREATE TABLE alias (
  id INTEGER PRIMARY KEY, collection_id INTEGER NOT NULL REFERENCES collection(id) ON DELETE CASCADE,
  membership_id INTEGER NOT NULL REFERENCES membership(id) ON DELETE CASCADE, alias TEXT NOT NULL,
  created_at INTEGER NOT NULL, UNIQUE (collection_id, alias));
CREATE INDEX alias_by_membership ON alias (membership_id);
CREATE TABLE tag (
  id INTEGER PRIMARY KEY, owner TEXT NOT NULL CHECK (owner IN ('artifact', 'collection')), owner_id INTEGER NOT NULL,
  name TEXT NOT NULL, created_at INTEGER NOT NULL, UNIQUE (owner, owner_id, name));
CREATE TABLE artifact_use (
  artifact_id INTEGER NOT NULL REFERENCES artifact(id) ON DELETE CASCADE,
  run_id INTEGER NOT NULL REFERENCES run(id) ON DELETE CASCADE, used_as TEXT, collection_id INTEGER,
  created_at INTEGER NOT NULL, PRIMARY KEY (artifact_id, run_id)) WITHOUT ROWID;
CREATE TABLE upload (
  id TEXT PRIMARY KEY, md5 TEXT NOT NULL, artifact_id INTEGER REFERENCES artifact(id) ON DELETE CASCADE,
  created_at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE upload_part (
  upload_id TEXT NOT NULL REFERENCES upload(id) ON DELETE CASCADE, number INTEGER NOT NULL, sha256 TEXT NOT NULL,
  md5 TEXT NOT NULL, size INTEGER NOT NULL, PRIMARY KEY (upload_id, number)) WITHOUT ROWID;
"""

_VIEWS = """
CREATE TABLE view (
  id INTEGER PRIMARY KEY, project_id INTEGER NOT NULL REFERENCES project(id) ON DELETE CASCADE, name TEXT NOT NULL,
  display_name TEXT, description TEXT, type TEXT NOT NULL, spec TEXT NOT NULL, user_id INTEGER REFERENCES user(id),
  created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL);
CREATE INDEX view_by_project ON view (project_id, type);
"""

_AUTOMATIONS = """
CREATE TABLE integration (
  id INTEGER PRIMARY KEY, entity_id INTEGER NOT NULL REFERENCES entity(id), kind TEXT NOT NULL, name TEXT NOT NULL,
  url TEXT, created_at INTEGER NOT NULL, UNIQUE (entity_id, name));
CREATE TABLE trigger_ (
  id INTEGER PRIMARY KEY, scope_type TEXT NOT NULL, scope_id INTEGER NOT NULL,
  project_id INTEGER REFERENCES project(id) ON DELETE CASCADE, entity_id INTEGER NOT NULL REFERENCES entity(id),
  name TEXT NOT NULL, description TEXT, enabled INTEGER NOT NULL, event_type TEXT NOT NULL, filter_json TEXT NOT NULL,
  action_type TEXT NOT NULL, action_json TEXT NOT NULL, integration_id INTEGER REFERENCES integration(id),
  user_id INTEGER REFERENCES user(id), created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL,
  UNIQUE (scope_type, scope_id, name));
"""

_STEPS: tuple[str, ...] = (_ACCOUNTS + _RUNS + _ARTIFACTS, _VIEWS, _AUTOMATIONS)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the file to the newest schema, in one transaction for each step.

    Raises:
        ServerError: The file was written by a newer version of this package.
    """
    version = next(iter(connection.execute("PRAGMA user_version").fetchone().values()))
    if version > len(_STEPS):
        raise ServerError(f"the store has schema version {version}, this package knows {len(_STEPS)}; upgrade it")
    for number, step in enumerate(_STEPS[version:], start=version + 1):
        connection.execute("BEGIN IMMEDIATE")
        for statement in step.split(";\n"):
            if statement.strip():
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
