#!/bin/sh
# Puts the password where only this process reads it, and becomes the server it is told to be.
# REDIS_PASSWORD or REDIS_PASSWORD_FILE is needed: there is no default.
set -eu
configuration=${REDIS_CONFIGURATION:-/tmp/redis.conf}
data=${REDIS_DATA:-/data}
if [ "${1:-}" = redis-server ]; then
    if [ -n "${REDIS_PASSWORD_FILE:-}" ]; then
        REDIS_PASSWORD=$(cat "$REDIS_PASSWORD_FILE")
    fi
    if [ -z "${REDIS_PASSWORD:-}" ]; then
        echo "set REDIS_PASSWORD or REDIS_PASSWORD_FILE: there is no default password" >&2
        exit 1
    fi
    case $REDIS_PASSWORD in *[!A-Za-z0-9_.~-]*)
        echo "REDIS_PASSWORD: letters, digits and _.~- only, because it is part of a URL" >&2
        exit 1
        ;;
    esac
    # Not on the command line, which every process of the host may read.
    (umask 077 && printf 'requirepass %s\n' "$REDIS_PASSWORD" >"$configuration")
    unset REDIS_PASSWORD
    shift
    mkdir -p "$data"
    set -- redis-server "$configuration" --dir "$data" "$@"
fi
exec "$@"
