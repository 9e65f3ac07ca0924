# The scripts that units and a host's administrator run, as text; builtins only, so that the tests run the very ones.
let
  inherit (builtins) attrNames concatStringsSep replaceStrings;
in
{
  # systemd hands secrets over as files, FileIntel reads variables. What the environment file says stands above them.
  launcher = ''
    set -eu
    for file in "''${CREDENTIALS_DIRECTORY:-/dev/null}"/*; do
      variable="''${file##*/}"
      [ -f "$file" ] && [ -z "''${!variable:-}" ] || continue
      export "$variable=$(<"$file")"
    done
    exec "$@"
  '';

  # The URLs of this host's Redis servers, kept from everyone but root, with the passwords that are credentials or, once
  # and for all, made here.
  makeSecrets = servers: ''
    set -eu
    umask 077
    cd "$STATE_DIRECTORY"
    # In a URL only these stand for themselves.
    quoted() {
      local LC_ALL=C text="$1" place letter
      for ((place = 0; place < ''${#text}; place++)); do
        letter="''${text:place:1}"
        case "$letter" in
          [A-Za-z0-9._~-]) printf %s "$letter" ;;
          *) printf '%%%02X' "'$letter" ;;
        esac
      done
    }
    make() {
      local kept="''${CREDENTIALS_DIRECTORY:-/dev/null}/$1"
      if [ ! -f "$kept" ]; then
        kept="$1.password"
        if [ ! -s "$kept" ]; then
          head -c 32 /dev/urandom | base64 | tr -d '/+=\n' > "$1.new"
          mv "$1.new" "$kept"
        fi
      fi
      printf 'redis://:%s@%s:%s/0' "$(quoted "$(<"$kept")")" "$2" "$3" > "$4.new"
      mv "$4.new" "$4"
    }
    ${concatStringsSep "\n" (
      map (
        server: "make ${server.name} ${server.host} ${toString server.port} ${server.variable}"
      ) servers
    )}
  '';

  # The first admin key, kept where the command line looks for it; made by the migrations, if there is none at all.
  makeAdminKey = stateDir: fileintel: ''
    set -euo pipefail
    umask 077
    [ ! -s ${stateDir}/admin.key ] || exit 0
    ${fileintel} migrate --first-key | tail -n +2 > ${stateDir}/admin.key.new
    if [ -s ${stateDir}/admin.key.new ]; then mv ${stateDir}/admin.key.new ${stateDir}/admin.key; fi
  '';

  # The command line on a host that FileIntel runs on. Clients of the API run as whoever calls them, with the first admin
  # key if they may read it; what reads settings and secrets itself runs as the services do.
  manage =
    {
      systemdRun,
      fileintel,
      launch,
      user,
      group,
      stateDir,
      apiUrl,
      environment,
      environmentFiles,
      credentials,
    }:
    let
      quote = text: "'${replaceStrings [ "'" ] [ "'\\''" ] text}'";
      options = [
        "--quiet"
        "--collect"
        "--wait"
        "--pipe"
        "--service-type=exec"
      ]
      ++ map (property: "--property=${property}") (
        [
          "User=${user}"
          "Group=${group}"
          "WorkingDirectory=${stateDir}"
        ]
        ++ map (file: "EnvironmentFile=${file}") environmentFiles
        ++ map (name: "LoadCredential=${name}:${credentials.${name}}") (attrNames credentials)
      )
      ++ map (name: "--setenv=${name}=${environment.${name}}") (attrNames environment)
      ++ [ "--setenv=HOME=${stateDir}" ];
    in
    ''
      case "''${1:-}" in
        config | migrate | worker)
          exec ${systemdRun} ${concatStringsSep " " (map quote options)} -- ${launch} ${fileintel} "$@" ;;
      esac
      export FILEINTEL_STATE_DIR=${stateDir} FILEINTEL_API_URL="''${FILEINTEL_API_URL:-${apiUrl}}"
      exec ${fileintel} "$@"
    '';

  # Sound while everything runs: pg_dump reads one snapshot, and a stored document's file never changes.
  makeBackup =
    {
      location,
      keep,
      blobDir,
    }:
    ''
      set -euo pipefail
      umask 077
      mkdir -p ${location}/blobs
      # Every user of the machine sees arguments, and nobody else a variable.
      if [[ $DATABASE_URL =~ ^([a-z0-9+]+://[^:/@]*):([^/@]*)@(.*)$ ]]; then
        DATABASE_URL="''${BASH_REMATCH[1]}@''${BASH_REMATCH[3]}" password="''${BASH_REMATCH[2]//\\/\\\\}"
        printf -v PGPASSWORD %b "''${password//%/\\x}"
        export PGPASSWORD
      fi
      # One name while it is made: what a failed one left is overwritten by the next.
      pg_dump --format=custom --file=${location}/new "''${DATABASE_URL/#postgresql+psycopg2:/postgresql:}"
      mv ${location}/new ${location}/fileintel-$(date --utc +%Y%m%dT%H%M%SZ).dump
      # A document's file never changes, but may be deleted meanwhile; those on their way in and exports are none.
      if [ -d ${blobDir} ]; then
        cd ${blobDir}
        find . -path './??/??/*' -type f -print0 | while IFS= read -r -d "" file; do
          [ ! -e "${location}/blobs/$file" ] || continue
          mkdir -p "${location}/blobs/''${file%/*}"
          if cp "$file" ${location}/new; then
            mv ${location}/new "${location}/blobs/$file"
          elif [ -e "$file" ]; then
            exit 1
          fi
        done
      fi
      ls -1 ${location}/fileintel-*.dump | head -n -${toString keep} | xargs -r rm --
    '';
}
