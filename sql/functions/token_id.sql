-- The id is the first 8 of a token's 24 bytes. A malformed token raises no error, for the reason in
-- token_hash.
CREATE OR REPLACE FUNCTION sessionsql.token_id(token text)
RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10
BEGIN ATOMIC
  SELECT CASE
    WHEN octet_length(token_id.token) <> 32 THEN NULL
    WHEN token_id.token COLLATE "C" ~ '^[A-Za-z0-9_-]{32}$'
      THEN NULLIF(GREATEST(
        (
          'x' || encode(substr(decode(translate(token_id.token, '-_', '+/'), 'base64'), 1, 8), 'hex')
        )::bit(64)::bigint,
        0
      ), 0)
  END;
END;

COMMENT ON FUNCTION sessionsql.token_id(text) IS 'Returns the id in a token; null if the token is malformed.';
