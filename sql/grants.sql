-- Privileges, in one place, each with its reason.

-- PostgreSQL gives EXECUTE on every new function and procedure to PUBLIC. A session store is nobody's who was
-- not given it.
REVOKE EXECUTE ON ALL ROUTINES IN SCHEMA sessionsql FROM PUBLIC;
REVOKE ALL ON SCHEMA sessionsql FROM PUBLIC;
