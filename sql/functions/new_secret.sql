-- A secret of 128 bits of the server's strong randomness, which is what gen_random_uuid uses. A UUID has 6
-- fixed bits; hashing two of them leaves none.
CREATE OR REPLACE FUNCTION sessionsql.new_secret()
RETURNS bytea
LANGUAGE sql VOLATILE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10
BEGIN ATOMIC
  SELECT substr(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 1, 16);
END;

COMMENT ON FUNCTION sessionsql.new_secret() IS 'A random secret of 16 bytes, which is stored nowhere.';
