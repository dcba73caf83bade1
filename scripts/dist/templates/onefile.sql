-- The bundle in one file and one DO statement, for migration tools and for whoever has no psql. It installs
-- the bundle or upgrades an older one, in the transaction that it is run in or else in one of its own. Where
-- this version is installed it does nothing. It leaves no setting behind.
--
-- Copy it as a migration of your own: the comments that begin with a plus sign or with "migrate" let goose,
-- sql-migrate and dbmate take the statement whole. An upgrade is a new migration, with the newer file.
--
-- scripts/generate.sh writes this file from install.sql and the files that it names: change those.

-- +goose Up
-- +goose StatementBegin
-- +migrate Up
-- +migrate StatementBegin
-- migrate:up
{{.Statement -}}
-- +migrate StatementEnd
-- +goose StatementEnd
