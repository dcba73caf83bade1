-- SHA-256 of the secret in a token, the last 16 of its 24 bytes; null when the token is malformed. Raises
-- nothing: an error would carry the token into the server's log. Its length is looked at first, because a
-- pattern takes no text of any size.
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
  'SHA-256 of the secret in a token; null when it is malformed.';
