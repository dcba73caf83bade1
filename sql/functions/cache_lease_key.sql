-- The lease of an entry is an entry too. Programs in all languages must find it by the same key.
CREATE OR REPLACE FUNCTION sessionsql.cache_lease_key(key uuid)
RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10
BEGIN ATOMIC
  SELECT encode(substr(sha256(uuid_send(cache_lease_key.key)), 1, 16), 'hex')::uuid;
END;

COMMENT ON FUNCTION sessionsql.cache_lease_key(uuid) IS
  'Returns the key of an entry''s lease: the first 16 bytes of SHA-256 of the entry''s key.';
