-- This installs the bundle, or upgrades an older one to this version:
--
--     psql -1 -v ON_ERROR_STOP=1 -f sql/install.sql
--
-- This manifest alone states the order of files. It has one \ir line per file, and each command of psql
-- starts in column one, because Go's Install and the packaging scripts read the same lines.
--
-- You can run it again at any time. It changes no session, and does nothing if this version is installed. If
-- it ends with "canceling statement due to lock timeout", a long transaction has read the session table.
-- Nothing was changed, so run it again.
\ir begin.sql

SELECT
  s.installed = '' AS fresh,
  NOT s.schema AS bare,
  s.installed <> s.wanted AS due,
  1 <> ALL (s.migrated) AS before_1,
  2 <> ALL (s.migrated) AS before_2,
  3 <> ALL (s.migrated) AS before_3,
  4 <> ALL (s.migrated) AS before_4,
  5 <> ALL (s.migrated) AS before_5,
  6 <> ALL (s.migrated) AS before_6,
  7 <> ALL (s.migrated) AS before_7,
  8 <> ALL (s.migrated) AS before_8,
  9 <> ALL (s.migrated) AS before_9,
  s.roles AS roles,
  s.router AS router
FROM (
  SELECT
    current_setting('sessionsql.installed') AS installed,
    current_setting('sessionsql.wanted') AS wanted,
    current_setting('sessionsql.migrated')::integer[] AS migrated,
    current_setting('sessionsql.schema')::boolean AS schema,
    current_setting('sessionsql.roles')::boolean AS roles,
    current_setting('sessionsql.router')::boolean AS router
) AS s
\gset sessionsql_

\if :sessionsql_due
\if :sessionsql_bare
\ir schema.sql
\endif
\if :sessionsql_fresh
\ir tables/types.sql
\ir tables/session.sql
\ir tables/reaper.sql
\ir views/live_session.sql
\ir views/subject_session.sql
\ir views/new_session_id.sql
\ir views/payload_version.sql
\ir views/last_reap.sql
\endif
\if :sessionsql_before_1
\ir tables/migration.sql
\ir migrations/001_label.sql
\endif
\if :sessionsql_before_7
\ir tables/change.sql
\ir views/near_session.sql
\endif
\ir functions/log_truncate.sql
\if :sessionsql_before_7
\ir migrations/007_change.sql
\endif
\if :sessionsql_before_2
\ir migrations/002_listed.sql
\ir views/listed_session.sql
\endif
\if :sessionsql_before_4
\ir tables/timeline.sql
\ir views/node.sql
\endif
\if :sessionsql_before_6
\ir migrations/006_cache.sql
\ir tables/cache_entry.sql
\ir tables/cache_reaper.sql
\ir tables/cache_space.sql
\ir views/cache_live.sql
\ir views/cache_listed.sql
\ir views/cache_lease.sql
\ir views/last_cache_reap.sql
\ir views/health.sql
\endif
\if :sessionsql_before_8
\ir views/change_feed.sql
\ir migrations/008_near_entries.sql
\endif
\if :sessionsql_before_9
\ir migrations/009_shard.sql
\endif
\ir functions/shard_of.sql
\ir functions/elsewhere.sql
\ir functions/at_home.sql
\ir functions/shards.sql
\ir functions/shard.sql
\ir functions/max_timeout.sql
\ir functions/max_subject_bytes.sql
\ir functions/max_label_bytes.sql
\ir functions/commit_asynchronously.sql
\ir functions/commit_synchronously.sql
\ir functions/next_expiry.sql
\ir functions/deadline_after.sql
\ir functions/is_due.sql
\ir functions/opens_at.sql
\ir functions/opens.sql
\ir functions/insert_needs_check.sql
\ir functions/check_insert.sql
\ir functions/lock_excess.sql
\ir functions/end_excess.sql
\ir functions/evict_subject.sql
\ir functions/insert.sql
\ir functions/insert_batch.sql
\ir functions/open_session.sql
\ir functions/lookup.sql
\ir functions/lookup_batch.sql
\ir functions/lookup_near.sql
\ir functions/touch_batch.sql
\ir functions/update_payload.sql
\ir functions/update_payload_batch.sql
\ir functions/rotate.sql
\ir functions/revoke.sql
\ir functions/revoke_batch.sql
\ir functions/revoke_listed.sql
\ir functions/revoke_listed_of.sql
\ir functions/revoke_subject.sql
\ir functions/list_subject.sql
\ir functions/note_timeline.sql
\ir functions/change_life.sql
\ir functions/begin_change_epoch.sql
\ir functions/changes.sql
\ir functions/purge_changes.sql
\ir functions/sweep.sql
\ir functions/reap.sql
\ir functions/reap_all.sql
\ir functions/token_id.sql
\ir functions/token_hash.sql
\ir functions/new_secret.sql
\ir functions/token_from.sql
\ir functions/new_session.sql
\ir functions/find_session.sql
\ir functions/use_session.sql
\ir functions/save_session.sql
\ir functions/renew_session.sql
\ir functions/end_session.sql
\ir functions/list_sessions.sql
\ir functions/end_listed_session.sql
\ir functions/tombstone_lifetime.sql
\ir functions/is_ttl.sql
\ir functions/check_entry.sql
\ir functions/entry_bytes.sql
\ir functions/cache_expiry.sql
\ir functions/cache_space_id.sql
\ir functions/first_near_key.sql
\ir functions/log_entries.sql
\ir functions/cache_key.sql
\ir functions/cache_lease_key.sql
\ir functions/cache_get_batch.sql
\ir functions/cache_set_batch.sql
\ir functions/cache_touch_batch.sql
\ir functions/cache_delete_batch.sql
\ir functions/cache_add.sql
\ir functions/cache_swap.sql
\ir functions/cache_sum.sql
\ir functions/cache_increment_by_key.sql
\ir functions/cache_increment.sql
\ir functions/cache_fetch_lease_by_key.sql
\ir functions/cache_fetch_lease.sql
\ir functions/cache_end_lease.sql
\ir functions/cache_list.sql
\ir functions/cache_len.sql
\ir functions/cache_clear.sql
\ir functions/cache_get.sql
\ir functions/cache_set.sql
\ir functions/cache_touch.sql
\ir functions/cache_delete.sql
\ir functions/evict.sql
\ir functions/cache_reap.sql
\if :sessionsql_before_3
\ir migrations/003_signatures.sql
\endif
\ir functions/version.sql
\ir grants.sql
\if :sessionsql_roles
\ir roles.sql
\endif
\if :sessionsql_router
\ir router.sql
\endif
\if :sessionsql_before_4
\ir migrations/004_timeline.sql
\endif
\if :sessionsql_before_5
\ir migrations/005_leftovers.sql
\endif
\endif
\ir end.sql
