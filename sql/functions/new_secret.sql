-- gen_random_uuid draws on the server's strong randomness. A UUID has 6 fixed bits, so two UUIDs are hashed
-- into 128 random bits.
CREATE OR REPLACE FUNCTION sessionsql.new_secret()
RETURNS bytea
LANGUAGE sql VOLATILE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10
BEGIN ATOMIC
  SELECT substr(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 1, 16);
END;

COMMENT ON FUNCTION sessionsql.new_secret() IS 'Returns a random secret of 16 bytes and stores it nowhere.';
