-- Installs the bundle, or brings an installed one up to this version:
--
--     psql -1 -v ON_ERROR_STOP=1 -f sql/install.sql
--
-- This manifest is the only place where order is written: one \ir line a file, and every line starts in column one.
-- Go's Install and the packaging scripts read the same lines. Run it as often as you like: it never touches a session.

-- Two installs at once wait for each other instead of failing on a catalog conflict (the number is arbitrary, and fixed),
-- and no name in the bundle is looked up in a schema of the installing role.
DO $install$
BEGIN
  PERFORM pg_catalog.pg_advisory_xact_lock(7309453286151577203);
  PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
END
$install$;

-- Without -1 that setting is forgotten by now, and is made once more for the connection.
DO $install$
BEGIN
  IF pg_catalog.current_setting('search_path') OPERATOR(pg_catalog.<>) 'pg_catalog, pg_temp' THEN
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', false);
  END IF;
END
$install$;

CREATE SCHEMA IF NOT EXISTS sessionsql;

\ir tables/types.sql
\ir tables/session.sql
\ir tables/reaper.sql
\ir functions/version.sql
\ir functions/next_expiry.sql
\ir functions/is_due.sql
\ir functions/opens.sql
\ir views/live_session.sql
\ir views/new_session_id.sql
\ir views/payload_version.sql
\ir views/subject_session.sql
\ir views/last_reap.sql
\ir views/node.sql
\ir views/health.sql
\ir functions/deadline_after.sql
\ir functions/is_insertable.sql
\ir functions/check_insert.sql
\ir functions/evict_subject.sql
\ir functions/insert.sql
\ir functions/insert_batch.sql
\ir functions/open_session.sql
\ir functions/lookup.sql
\ir functions/lookup_batch.sql
\ir functions/touch_batch.sql
\ir functions/update_payload.sql
\ir functions/update_payload_batch.sql
\ir functions/rotate.sql
\ir functions/revoke.sql
\ir functions/revoke_subject.sql
\ir functions/list_subject.sql
\ir functions/reap.sql
\ir functions/token_id.sql
\ir functions/token_hash.sql
\ir functions/new_session.sql
\ir functions/find_session.sql
\ir functions/end_session.sql
\ir grants.sql
