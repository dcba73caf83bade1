-- Privileges stand here and in roles.sql alone, each with its reason.

-- PostgreSQL gives EXECUTE on every new function and procedure to PUBLIC. Only roles with a grant may use the
-- session store.
REVOKE EXECUTE ON ALL ROUTINES IN SCHEMA sessionsql FROM PUBLIC;
REVOKE ALL ON SCHEMA sessionsql FROM PUBLIC;
