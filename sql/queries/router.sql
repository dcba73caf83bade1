-- IsRouter works with bundles that know no router, also in a transaction of the application.
-- name: IsRouter :one
SELECT (pg_catalog.to_regnamespace('sessionsql_router') IS NOT NULL)::boolean AS is_router;
