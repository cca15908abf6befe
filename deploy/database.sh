#!/usr/bin/env bash
# Run by the image of PostgreSQL when the database is made: a role that owns one database, and may do
# nothing else. Stanchion makes its schema in it, and later migrations, as that role.
set -euo pipefail

psql --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" \
  --set password="$DATABASE_PASSWORD" <<'SQL'
CREATE ROLE stanchion LOGIN PASSWORD :'password';
CREATE DATABASE stanchion OWNER stanchion ENCODING 'UTF8' TEMPLATE template0;
REVOKE ALL ON DATABASE stanchion FROM PUBLIC;
SQL
