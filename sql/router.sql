-- This file is optional. It makes a database without sessions a router: whoever calls the bundle's functions
-- there reaches all shards, each a primary with the bundle; see functions/shard.sql. It needs a superuser and
-- the extension PL/Proxy (Debian: postgresql-15-plproxy), because the language plproxy is not trusted:
--
--     psql -1 -v ON_ERROR_STOP=1 -f sql/install.sql -f sql/roles.sql -f sql/router.sql
--
-- The shards are options of a foreign server, in the order of their numbers. A router keeps nothing, so there
-- may be any number of them, and each needs only this:
--
--     CREATE SERVER sessionsql FOREIGN DATA WRAPPER plproxy OPTIONS (
--       p0 'host=shard0 dbname=app target_session_attrs=read-write',
--       p1 'host=shard1 dbname=app target_session_attrs=read-write'
--     );
--     GRANT USAGE ON FOREIGN SERVER sessionsql TO sessionsql_owner;
--     CREATE USER MAPPING FOR sessionsql_owner SERVER sessionsql OPTIONS (user 'router', password '...');
--
-- The user of the mapping needs sessionsql_app and sessionsql_support on each shard. Install roles.sql there
-- too, because PL/Proxy prepares nothing, and the functions keep their plans only then.
--
-- You can run this file again at any time. From then on install.sql ends with it, because an upgrade would
-- otherwise let the router answer out of its own empty tables.
--
-- Each shard commits by itself. So a call that reaches several of them may be done on some when it fails, and
-- nothing that the caller's transaction does later undoes it. A cap of sessions (max_sessions) is refused,
-- because no shard sees all sessions of a subject.
DO $router$
BEGIN
  IF EXISTS (SELECT FROM sessionsql.session) OR EXISTS (SELECT FROM sessionsql.cache_entry) THEN
    RAISE object_not_in_prerequisite_state USING
      MESSAGE = 'sessionsql: this database holds sessions or cache entries, so it cannot become a router',
      HINT = 'A router is a database of its own.';
  END IF;
END
$router$;

CREATE EXTENSION IF NOT EXISTS plproxy;

-- The functions here return one row per shard; those of the same names in sessionsql make one answer of them.
-- The schema tells an installation, and a Store, that this is a router.
CREATE SCHEMA IF NOT EXISTS sessionsql_router;
REVOKE ALL ON SCHEMA sessionsql_router FROM PUBLIC;

-- The local tables stay empty: whatever reaches them by an id or a key is refused.
DO $router$
BEGIN
  PERFORM sessionsql.shard(1, NULL);
END
$router$;

-- All functions run as their owner, who alone has the user mapping and with it the password of the shards.

CREATE OR REPLACE FUNCTION sessionsql.shards()
RETURNS integer
LANGUAGE plpgsql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY DEFINER COST 100
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  RETURN (
    SELECT count(*)
    FROM pg_foreign_server AS s
    CROSS JOIN unnest(s.srvoptions) AS o (option)
    WHERE s.srvname = 'sessionsql'
      AND o.option ~ '^p[0-9]+='
  );
END
$function$;

CREATE OR REPLACE FUNCTION sessionsql_router.shards()
RETURNS SETOF integer
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  RUN ON ALL;
  TARGET sessionsql.shards;
$function$;

-- A call that must reach every shard takes the number of shards before, and passes it here afterwards. A
-- shard that has been divided since the router got its map says so, and then the call has left a shard out.
CREATE OR REPLACE FUNCTION sessionsql_router.check_shards(shards integer)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY DEFINER COST 1000
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  IF (
    SELECT count(*) = check_shards.shards AND bool_and(s.shards IS NOT DISTINCT FROM check_shards.shards)
    FROM sessionsql_router.shards() AS s (shards)
  ) IS NOT TRUE THEN
    RAISE EXCEPTION USING
      ERRCODE = 'SQ001',
      MESSAGE = 'sessionsql: the shards are not those of this router''s map, so the call has left some out',
      HINT = 'Call again. If this goes on, compare the options of the foreign server with the shards.';
  END IF;
END
$function$;

CREATE OR REPLACE FUNCTION sessionsql_router.insert(
  secret_hash bytea,
  payload text,
  idle_timeout interval,
  lifetime interval,
  subject text,
  durable boolean,
  max_sessions integer,
  label text
)
RETURNS bigint
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  RUN ON ANY;
  TARGET sessionsql.insert;
$function$;

CREATE OR REPLACE FUNCTION sessionsql.insert(
  secret_hash bytea,
  payload text,
  idle_timeout interval DEFAULT '30 minutes',
  lifetime interval DEFAULT NULL,
  subject text DEFAULT NULL,
  durable boolean DEFAULT false,
  max_sessions integer DEFAULT NULL,
  label text DEFAULT NULL
)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY DEFINER COST 1000
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  IF insert.max_sessions IS NOT NULL THEN
    RAISE feature_not_supported USING
      MESSAGE = 'sessionsql.insert: a router cannot enforce max_sessions';
  END IF;
  RETURN sessionsql_router.insert(
    insert.secret_hash, insert.payload, insert.idle_timeout, insert.lifetime, insert.subject, insert.durable,
    NULL, insert.label
  );
END
$function$;

-- A batch goes to one shard as a whole, so that it is inserted as a whole or not at all.
CREATE OR REPLACE FUNCTION sessionsql.insert_batch(
  secret_hashes bytea[],
  payloads text[],
  idle_seconds double precision[],
  lifetime_seconds double precision[],
  subjects text[],
  durable boolean DEFAULT false,
  labels text[] DEFAULT NULL
)
RETURNS SETOF sessionsql.new_session_id
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  RUN ON ANY;
$function$;

CREATE OR REPLACE FUNCTION sessionsql.lookup(id bigint, secret_hash bytea)
RETURNS SETOF sessionsql.live_session
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  RUN ON sessionsql.shard_of(id);
$function$;

CREATE OR REPLACE FUNCTION sessionsql.open_session(id bigint, secret_hash bytea)
RETURNS SETOF sessionsql.live_session
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  RUN ON sessionsql.shard_of(id);
  TARGET sessionsql.lookup;
$function$;

-- This is the call that a busy program makes most. PL/Proxy takes the shard from the ids themselves, because
-- it would run a query for each call of shard_of. It refuses a null id, which opens no session anyway.
CREATE OR REPLACE FUNCTION sessionsql.lookup_batch(ids bigint[], secret_hashes bytea[])
RETURNS SETOF sessionsql.live_session
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  SPLIT ids, secret_hashes;
  RUN ON ids;
$function$;

CREATE OR REPLACE FUNCTION sessionsql.lookup_near(ids bigint[], secret_hashes bytea[])
RETURNS SETOF sessionsql.near_session
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  SPLIT ids, secret_hashes;
  RUN ON sessionsql.shard_of(ids);
$function$;

-- No snapshot spans the shards, so a program behind a router keeps nothing in memory.
CREATE OR REPLACE FUNCTION sessionsql.changes(last pg_snapshot)
RETURNS SETOF sessionsql.change_feed
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY DEFINER COST 1000 ROWS 1
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  RAISE feature_not_supported USING
    MESSAGE = 'sessionsql.changes: a router has no log of changes, so there is no near cache behind it';
END
$function$;

CREATE OR REPLACE FUNCTION sessionsql_router.touch_batch(ids bigint[], durable boolean)
RETURNS SETOF bigint
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  SPLIT ids;
  RUN ON sessionsql.shard_of(ids);
  TARGET sessionsql.touch_batch;
$function$;

CREATE OR REPLACE FUNCTION sessionsql.touch_batch(ids bigint[], durable boolean DEFAULT false)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY DEFINER COST 1000
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  RETURN (
    SELECT COALESCE(sum(t.touched), 0)
    FROM sessionsql_router.touch_batch(touch_batch.ids, touch_batch.durable) AS t (touched)
  );
END
$function$;

CREATE OR REPLACE FUNCTION sessionsql.update_payload(
  id bigint,
  secret_hash bytea,
  payload text,
  expected_version integer DEFAULT NULL,
  durable boolean DEFAULT false
)
RETURNS integer
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  RUN ON sessionsql.shard_of(id);
$function$;

CREATE OR REPLACE FUNCTION sessionsql.update_payload_batch(
  ids bigint[],
  secret_hashes bytea[],
  payloads text[],
  expected_versions integer[],
  durable boolean DEFAULT false
)
RETURNS SETOF sessionsql.payload_version
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  SPLIT ids, secret_hashes, payloads, expected_versions;
  RUN ON sessionsql.shard_of(ids);
$function$;

CREATE OR REPLACE FUNCTION sessionsql_router.rotate(
  id bigint,
  secret_hash bytea,
  new_secret_hash bytea,
  grace interval,
  subject text,
  max_sessions integer
)
RETURNS boolean
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  RUN ON sessionsql.shard_of(id);
  TARGET sessionsql.rotate;
$function$;

CREATE OR REPLACE FUNCTION sessionsql.rotate(
  id bigint,
  secret_hash bytea,
  new_secret_hash bytea,
  grace interval DEFAULT '10 seconds',
  subject text DEFAULT NULL,
  max_sessions integer DEFAULT NULL
)
RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY DEFINER COST 1000
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  IF rotate.max_sessions IS NOT NULL THEN
    RAISE feature_not_supported USING
      MESSAGE = 'sessionsql.rotate: a router cannot enforce max_sessions';
  END IF;
  RETURN sessionsql_router.rotate(
    rotate.id, rotate.secret_hash, rotate.new_secret_hash, rotate.grace, rotate.subject, NULL
  );
END
$function$;

CREATE OR REPLACE FUNCTION sessionsql.revoke(id bigint, secret_hash bytea)
RETURNS boolean
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  RUN ON sessionsql.shard_of(id);
$function$;

CREATE OR REPLACE FUNCTION sessionsql.revoke_batch(ids bigint[], secret_hashes bytea[])
RETURNS SETOF bigint
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  SPLIT ids, secret_hashes;
  RUN ON sessionsql.shard_of(ids);
$function$;

CREATE OR REPLACE FUNCTION sessionsql.revoke_listed_of(subject text, listed_id bigint)
RETURNS boolean
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  RUN ON sessionsql.shard_of(listed_id);
$function$;

-- The two sessions may be on two shards. So a presented session that is revoked at the same moment may still
-- end the listed one.
CREATE OR REPLACE FUNCTION sessionsql.revoke_listed(id bigint, secret_hash bytea, listed_id bigint)
RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY DEFINER COST 1000
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  subject CONSTANT text := (
    SELECT l.subject FROM sessionsql.lookup(revoke_listed.id, revoke_listed.secret_hash) AS l
  );
BEGIN
  RETURN subject IS NOT NULL
    AND revoke_listed.id <> revoke_listed.listed_id
    AND sessionsql.revoke_listed_of(subject, revoke_listed.listed_id);
END
$function$;

CREATE OR REPLACE FUNCTION sessionsql_router.revoke_subject(subject text, keep_id bigint)
RETURNS SETOF bigint
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  RUN ON ALL;
  TARGET sessionsql.revoke_subject;
$function$;

CREATE OR REPLACE FUNCTION sessionsql.revoke_subject(subject text, keep_id bigint DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY DEFINER COST 1000
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  shards CONSTANT integer := sessionsql.shards();
  revoked bigint;
BEGIN
  SELECT sum(r.revoked) INTO revoked
  FROM sessionsql_router.revoke_subject(revoke_subject.subject, revoke_subject.keep_id) AS r (revoked);

  PERFORM sessionsql_router.check_shards(shards);
  RETURN revoked;
END
$function$;

CREATE OR REPLACE FUNCTION sessionsql_router.list_subject(subject text)
RETURNS SETOF sessionsql.listed_session
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  RUN ON ALL;
  TARGET sessionsql.list_subject;
$function$;

CREATE OR REPLACE FUNCTION sessionsql.list_subject(subject text)
RETURNS SETOF sessionsql.listed_session
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY DEFINER COST 1000 ROWS 10
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  shards CONSTANT integer := sessionsql.shards();
BEGIN
  RETURN QUERY
    SELECT
      l.id,
      l.created_at,
      l.expires_in,
      l.label
    FROM sessionsql_router.list_subject(list_subject.subject) AS l
    ORDER BY l.created_at DESC, l.id DESC;

  PERFORM sessionsql_router.check_shards(shards);
END
$function$;

CREATE OR REPLACE FUNCTION sessionsql.use_session(token text, durable boolean DEFAULT false)
RETURNS SETOF sessionsql.live_session
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  RUN ON sessionsql.shard_of(sessionsql.token_id(token));
$function$;

CREATE OR REPLACE FUNCTION sessionsql_router.reap(max_rows integer, max_pages integer, durable boolean)
RETURNS SETOF sessionsql.last_reap
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  RUN ON ALL;
  TARGET sessionsql.reap;
$function$;

-- max_rows and max_pages bound the work on each shard. A lap is done when each shard that reaped is at its
-- end.
CREATE OR REPLACE FUNCTION sessionsql.reap(
  max_rows integer DEFAULT 1000,
  max_pages integer DEFAULT 4096,
  durable boolean DEFAULT false
)
RETURNS SETOF sessionsql.last_reap
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY DEFINER COST 10000 ROWS 1
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  RETURN QUERY
    SELECT
      sum(r.reaped)::bigint,
      sum(r.pages)::bigint,
      bool_and(r.lap_done)
    FROM sessionsql_router.reap(reap.max_rows, reap.max_pages, reap.durable) AS r
    HAVING count(*) > 0;
END
$function$;

CREATE OR REPLACE FUNCTION sessionsql.cache_get_batch(keys uuid[])
RETURNS SETOF sessionsql.cache_live
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  SPLIT keys;
  RUN ON sessionsql.shard_of(keys);
$function$;

CREATE OR REPLACE FUNCTION sessionsql_router.cache_set_batch(
  keys uuid[],
  spaces integer[],
  entry_values bytea[],
  ttl_seconds double precision[],
  plain_keys bytea[],
  slack_seconds double precision[],
  durable boolean
)
RETURNS SETOF uuid
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  SPLIT keys, spaces, entry_values, ttl_seconds, plain_keys, slack_seconds;
  RUN ON sessionsql.shard_of(keys);
  TARGET sessionsql.cache_set_batch;
$function$;

-- PL/Proxy splits no null array.
CREATE OR REPLACE FUNCTION sessionsql.cache_set_batch(
  keys uuid[],
  spaces integer[],
  entry_values bytea[],
  ttl_seconds double precision[],
  plain_keys bytea[] DEFAULT NULL,
  slack_seconds double precision[] DEFAULT NULL,
  durable boolean DEFAULT false
)
RETURNS SETOF uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY DEFINER COST 1000 ROWS 1
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  size CONSTANT integer[] := ARRAY[cardinality(cache_set_batch.keys)];
BEGIN
  RETURN QUERY
    SELECT r.refused
    FROM sessionsql_router.cache_set_batch(
      cache_set_batch.keys,
      cache_set_batch.spaces,
      cache_set_batch.entry_values,
      cache_set_batch.ttl_seconds,
      COALESCE(cache_set_batch.plain_keys, array_fill(NULL::bytea, size)),
      COALESCE(cache_set_batch.slack_seconds, array_fill(NULL::double precision, size)),
      cache_set_batch.durable
    ) AS r (refused);
END
$function$;

CREATE OR REPLACE FUNCTION sessionsql_router.cache_touch_batch(
  keys uuid[],
  ttl_seconds double precision[],
  durable boolean
)
RETURNS SETOF bigint
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  SPLIT keys, ttl_seconds;
  RUN ON sessionsql.shard_of(keys);
  TARGET sessionsql.cache_touch_batch;
$function$;

CREATE OR REPLACE FUNCTION sessionsql.cache_touch_batch(
  keys uuid[],
  ttl_seconds double precision[],
  durable boolean DEFAULT false
)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY DEFINER COST 1000
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  RETURN (
    SELECT COALESCE(sum(t.touched), 0)
    FROM sessionsql_router.cache_touch_batch(
      cache_touch_batch.keys, cache_touch_batch.ttl_seconds, cache_touch_batch.durable
    ) AS t (touched)
  );
END
$function$;

CREATE OR REPLACE FUNCTION sessionsql.cache_delete_batch(
  keys uuid[],
  final boolean DEFAULT false,
  durable boolean DEFAULT false
)
RETURNS SETOF uuid
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  SPLIT keys;
  RUN ON sessionsql.shard_of(keys);
$function$;

CREATE OR REPLACE FUNCTION sessionsql.cache_add(
  key uuid,
  space integer,
  value bytea,
  ttl_seconds double precision,
  plain_key bytea DEFAULT NULL,
  durable boolean DEFAULT false
)
RETURNS boolean
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  RUN ON sessionsql.shard_of(key);
$function$;

CREATE OR REPLACE FUNCTION sessionsql.cache_swap(
  key uuid,
  old_hash bytea,
  value bytea,
  ttl_seconds double precision DEFAULT NULL,
  final boolean DEFAULT false,
  durable boolean DEFAULT false
)
RETURNS integer
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  RUN ON sessionsql.shard_of(key);
$function$;

CREATE OR REPLACE FUNCTION sessionsql.cache_increment_by_key(
  key uuid,
  space integer,
  delta bigint,
  ttl_seconds double precision,
  plain_key bytea DEFAULT NULL,
  durable boolean DEFAULT false
)
RETURNS bigint
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  RUN ON sessionsql.shard_of(key);
$function$;

CREATE OR REPLACE FUNCTION sessionsql_router.cache_list(space integer, after uuid, max_rows integer)
RETURNS SETOF sessionsql.cache_listed
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  RUN ON ALL;
  TARGET sessionsql.cache_list;
$function$;

CREATE OR REPLACE FUNCTION sessionsql.cache_list(space integer, after uuid, max_rows integer)
RETURNS SETOF sessionsql.cache_listed
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY DEFINER COST 1000 ROWS 100
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  shards CONSTANT integer := sessionsql.shards();
BEGIN
  RETURN QUERY
    SELECT
      l.key,
      l.plain_key,
      l.value,
      l.expires_in,
      l.space
    FROM sessionsql_router.cache_list(cache_list.space, cache_list.after, cache_list.max_rows) AS l
    ORDER BY l.key
    LIMIT cache_list.max_rows;

  PERFORM sessionsql_router.check_shards(shards);
END
$function$;

CREATE OR REPLACE FUNCTION sessionsql_router.cache_len(space integer)
RETURNS SETOF bigint
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  RUN ON ALL;
  TARGET sessionsql.cache_len;
$function$;

CREATE OR REPLACE FUNCTION sessionsql.cache_len(space integer)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY DEFINER COST 10000
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  shards CONSTANT integer := sessionsql.shards();
  entries bigint;
BEGIN
  SELECT sum(l.entries) INTO entries
  FROM sessionsql_router.cache_len(cache_len.space) AS l (entries);

  PERFORM sessionsql_router.check_shards(shards);
  RETURN entries;
END
$function$;

CREATE OR REPLACE FUNCTION sessionsql_router.cache_clear(space integer, final boolean, durable boolean)
RETURNS SETOF bigint
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  RUN ON ALL;
  TARGET sessionsql.cache_clear;
$function$;

CREATE OR REPLACE FUNCTION sessionsql.cache_clear(
  space integer,
  final boolean DEFAULT false,
  durable boolean DEFAULT false
)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY DEFINER COST 10000
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  shards CONSTANT integer := sessionsql.shards();
  ended bigint;
BEGIN
  SELECT sum(c.ended) INTO ended
  FROM sessionsql_router.cache_clear(cache_clear.space, cache_clear.final, cache_clear.durable) AS c (ended);

  PERFORM sessionsql_router.check_shards(shards);
  RETURN ended;
END
$function$;

CREATE OR REPLACE FUNCTION sessionsql_router.cache_reap(
  max_rows integer,
  max_pages integer,
  durable boolean,
  spaces integer[],
  budgets bigint[]
)
RETURNS SETOF sessionsql.last_cache_reap
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  RUN ON ALL;
  TARGET sessionsql.cache_reap;
$function$;

-- Keys are spread evenly, so each shard keeps to its equal part of a budget.
CREATE OR REPLACE FUNCTION sessionsql.cache_reap(
  max_rows integer DEFAULT 1000,
  max_pages integer DEFAULT 4096,
  durable boolean DEFAULT false,
  spaces integer[] DEFAULT NULL,
  budgets bigint[] DEFAULT NULL
)
RETURNS SETOF sessionsql.last_cache_reap
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY DEFINER COST 10000 ROWS 1
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  shards CONSTANT integer := sessionsql.shards();
BEGIN
  RETURN QUERY
    SELECT
      sum(r.reaped)::bigint,
      sum(r.evicted)::bigint,
      sum(r.pages)::bigint,
      bool_and(r.lap_done)
    FROM sessionsql_router.cache_reap(
      cache_reap.max_rows,
      cache_reap.max_pages,
      cache_reap.durable,
      cache_reap.spaces,
      CASE WHEN cache_reap.budgets IS NOT NULL THEN ARRAY(
        SELECT CASE WHEN b.budget > 0 THEN GREATEST(b.budget / shards, 1) ELSE b.budget END
        FROM unnest(cache_reap.budgets) WITH ORDINALITY AS b (budget, position)
        ORDER BY b.position
      ) END
    ) AS r
    HAVING count(*) > 0;
END
$function$;

-- The functions above have new owners and privileges where roles.sql has run.
DO $router$
DECLARE
  f regprocedure;
  owner name;
BEGIN
  SELECT n.nspowner::regrole INTO owner FROM pg_namespace AS n WHERE n.nspname = 'sessionsql';
  EXECUTE format('ALTER SCHEMA sessionsql_router OWNER TO %I', owner);
  FOR f IN
    SELECT p.oid FROM pg_proc AS p WHERE p.pronamespace = 'sessionsql_router'::regnamespace
  LOOP
    EXECUTE format('ALTER FUNCTION %s OWNER TO %I', f, owner);
  END LOOP;
END
$router$;
REVOKE EXECUTE ON ALL ROUTINES IN SCHEMA sessionsql_router FROM PUBLIC;
