#!/bin/sh
# Makes the passwords of a deployment in deploy/secrets: once, before the first `docker compose up`.
#
# Each process gets a file with its own addresses and passwords (mode 0600). The servers get SHA-256 digests alone,
# in copies of deploy/valkey/users.acl and deploy/clickhouse/users.xml. To change every password, remove the files
# and run this again, then `docker compose up --detach --force-recreate`.
set -eu
umask 077
deploy=$(cd "$(dirname "$0")" && pwd)
secrets=$deploy/secrets
if [ -e "$secrets/admin.env" ]; then
  echo "$secrets has passwords already; nothing was changed." >&2
  exit 1
fi
cp "$deploy/valkey/users.acl" "$secrets/users.acl"
cp "$deploy/clickhouse/users.xml" "$secrets/users.xml"
for user in ingest sink project trace admin; do
  password=$(openssl rand -hex 24)
  digest=$(printf %s "$password" | openssl dgst -sha256 -r | cut -d ' ' -f 1)
  for file in users.acl users.xml; do
    sed "s/@$user-sha256@/$digest/" "$secrets/$file" >"$secrets/$file.new"
    mv "$secrets/$file.new" "$secrets/$file"
  done
  {
    echo "TRUYVET_REDIS_URL=redis://$user:$password@valkey:6379/0"
    if [ "$user" != ingest ]; then echo "TRUYVET_CLICKHOUSE_URL=http://$user:$password@clickhouse:8123/"; fi
  } >"$secrets/$user.env"
done
{
  echo "GF_SECURITY_ADMIN_USER=admin"
  echo "GF_SECURITY_ADMIN_PASSWORD=$(openssl rand -hex 24)"
} >"$secrets/grafana.env"
chmod 0644 "$secrets/users.acl" "$secrets/users.xml" # digests of long random passwords, read by the servers' users
echo "Made the passwords in $secrets. Keep that directory out of every repository; a backup needs none of it."
