#!/bin/sh
# Makes the database at the first start, then becomes the server it is told to be.
# POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE is needed at the first start alone: there is no default.
set -eu
: "${PGDATA:?where the data lies}"
user=${POSTGRES_USER:-fileintel}
database=${POSTGRES_DB:-fileintel}

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    mkdir -p "$PGDATA"
    if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then
        POSTGRES_PASSWORD=$(cat "$POSTGRES_PASSWORD_FILE")
    fi
    if [ -z "${POSTGRES_PASSWORD:-}" ]; then
        echo "set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE: there is no default password" >&2
        exit 1
    fi
    # Made beside the data and moved there when it is whole: an interrupted start is taken up where it was.
    draft=$PGDATA/.new
    if [ ! -e "$draft/.whole" ]; then
        rm -rf "$draft"
        (umask 077 && printf '%s\n' "$POSTGRES_PASSWORD" >"$PGDATA/.password")
        initdb --pgdata="$draft" --username="$user" --pwfile="$PGDATA/.password" --auth=scram-sha-256 --encoding=UTF8 \
            --locale=C --locale-provider=builtin --builtin-locale=C.UTF-8 --no-instructions
        rm "$PGDATA/.password"
        if [ "$database" != postgres ]; then
            echo "CREATE DATABASE \"$database\"" | postgres --single -D "$draft" postgres >/dev/null
        fi
        # Whoever is let into this network still needs the password.
        echo "host all all all scram-sha-256" >>"$draft/pg_hba.conf"
        touch "$draft/.whole"
    fi
    # PG_VERSION last: it says that the data is there.
    for entry in "$draft"/*; do
        if [ "${entry##*/}" != PG_VERSION ]; then mv "$entry" "$PGDATA/"; fi
    done
    mv "$draft/PG_VERSION" "$PGDATA/"
    rm -r "$draft"
fi
unset POSTGRES_PASSWORD
chmod 700 "$PGDATA"

# FileIntel's settings may say 2G or 2gb, Postgres knows 2GB alone.
spelt() {
    value=${1#*=}
    amount=${value%%[!0-9]*}
    case ${value#"$amount"} in
        [kK] | [kK][bB] | [kK][iI][bB]) unit=kB ;;
        [mM] | [mM][bB] | [mM][iI][bB]) unit=MB ;;
        [gG] | [gG][bB] | [gG][iI][bB]) unit=GB ;;
        [tT] | [tT][bB] | [tT][iI][bB]) unit=TB ;;
        *) unit= ;;
    esac
    if [ -n "$amount" ] && [ -n "$unit" ]; then echo "${1%%=*}=$amount$unit"; else printf '%s\n' "$1"; fi
}

if [ "${1:-}" = postgres ]; then
    shift
    for argument in "$@"; do
        shift
        set -- "$@" "$(spelt "$argument")"
    done
    set -- postgres -c listen_addresses='*' -c unix_socket_directories= -c timezone=UTC "$@"
fi
exec "$@"
