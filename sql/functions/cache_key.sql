-- Go computes the same keys. The hash of the key inside gives each space and key one text to be hashed, so
-- that no two of them share one. A hash hides a random key, but not one that can be guessed.
--
-- The keys of a space whose name begins with "near:" begin with two bytes of ones; see first_near_key.
CREATE OR REPLACE FUNCTION sessionsql.cache_key(space text, key bytea)
RETURNS uuid
LANGUAGE plpgsql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  hash bytea;
BEGIN
  IF (octet_length(cache_key.key) > 0) IS NOT TRUE THEN
    RAISE invalid_parameter_value USING MESSAGE = 'sessionsql.cache_key: key must not be empty or null';
  END IF;
  hash := sha256(int4send(sessionsql.cache_space_id(cache_key.space)) || sha256(cache_key.key));
  IF starts_with(cache_key.space, 'near:') THEN
    hash := overlay(hash PLACING decode('ffff', 'hex') FROM 1);
  END IF;
  RETURN encode(substr(hash, 1, 16), 'hex')::uuid;
END
$function$;

COMMENT ON FUNCTION sessionsql.cache_key(text, bytea) IS
  'Returns 16 bytes of SHA-256 of the number of the space and SHA-256 of the key.';

-- This overload is for keys that are text.
CREATE OR REPLACE FUNCTION sessionsql.cache_key(space text, key text)
RETURNS uuid
LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10
BEGIN ATOMIC
  SELECT sessionsql.cache_key(cache_key.space, convert_to(cache_key.key, 'UTF8'));
END;

COMMENT ON FUNCTION sessionsql.cache_key(text, text) IS
  'Returns the key of a space and a text, which is hashed in UTF-8.';
