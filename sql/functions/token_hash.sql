-- The secret is the last 16 of a token's 24 bytes. A malformed token raises no error, because an error would
-- carry it into the server's log. The length is checked first, because a pattern fails on a text that is too
-- long.
CREATE OR REPLACE FUNCTION sessionsql.token_hash(token text)
RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10
BEGIN ATOMIC
  SELECT CASE
    WHEN octet_length(token_hash.token) <> 32 THEN NULL
    WHEN token_hash.token COLLATE "C" ~ '^[A-Za-z0-9_-]{32}$'
      THEN sha256(substr(decode(translate(token_hash.token, '-_', '+/'), 'base64'), 9, 16))
  END;
END;

COMMENT ON FUNCTION sessionsql.token_hash(text) IS
  'Returns SHA-256 of the secret in a token; null if the token is malformed.';
