-- A token is base64url of id and secret, 32 characters without padding. token_id and token_hash take it
-- apart.
CREATE OR REPLACE FUNCTION sessionsql.token_from(id bigint, secret bytea)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10
BEGIN ATOMIC
  SELECT translate(encode(int8send(token_from.id) || token_from.secret, 'base64'), '+/', '-_');
END;

COMMENT ON FUNCTION sessionsql.token_from(bigint, bytea) IS 'Returns the token of an id and a secret.';
