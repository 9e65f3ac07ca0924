# `nix develop`: the locked Python packages and the tools, the application as it stands in this folder, and what the
# integration and browser tests need. `process-compose up` runs all services, from the same process list as elsewhere.
{
  lib,
  mkShell,
  writeText,
  writeShellScriptBin,
  fileintel,
  callPackage,
  postgresql_17,
  chromium,
  docker-client,
  skopeo,
  process-compose,
  openssl,
  uv,
  nixfmt-tree,
  cacert,
  tzdata,
}:
let
  inherit (fileintel) locked project python;
  environment = python.buildEnv.override { extraLibs = locked.runtime ++ locked.dev; };
  # An editable install would write into the store: the search path below finds the code instead.
  commands = lib.mapAttrsToList (
    name: entry:
    let
      part = lib.elemAt (lib.splitString ":" entry);
    in
    writeShellScriptBin name ''
      exec ${environment}/bin/python -c \
        'import sys; from ${part 0} import ${part 1} as run; sys.argv[0] = "${name}"; sys.exit(run())' "$@"
    ''
  ) project.scripts;
in
mkShell {
  packages = [
    environment
    (postgresql_17.withPackages (extensions: [ extensions.pgvector ]))
    (callPackage ./redis.nix { })
    chromium
    docker-client
    skopeo
    process-compose
    uv
    nixfmt-tree
  ]
  ++ commands;
  env = {
    PYTHONTZPATH = "${tzdata}/share/zoneinfo";
    SSL_CERT_FILE = "${cacert}/etc/ssl/certs/ca-bundle.crt";
    # Where process-compose finds the services if it is given no file.
    PC_CONFIG_FILES = toString (writeText "process-compose.yaml" (import ./process-compose.nix { }).text);
  };
  shellHook = ''
    root=$(git rev-parse --show-toplevel 2>/dev/null || pwd)
    export PYTHONPATH="$root''${PYTHONPATH:+:$PYTHONPATH}"
    export DEV_FOLDER="$root/.dev"
    if [ ! -s "$DEV_FOLDER/password" ]; then
      mkdir -p -m 700 "$DEV_FOLDER"
      (umask 077 && ${lib.getExe openssl} rand -hex 16 >"$DEV_FOLDER/password")
    fi
    DEV_PASSWORD=$(cat "$DEV_FOLDER/password")
    export DEV_PASSWORD
  '';
}
