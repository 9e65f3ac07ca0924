# `nix develop`: the locked Python packages and the tools, the application as it stands in this folder, what the
# integration tests need, and a browser and image tools for work on what people see and load. `process-compose up` runs
# all services, from the same process list as elsewhere.
{
  lib,
  mkShell,
  writeText,
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
mkShell {
  packages = [
    fileintel.editable
    (postgresql_17.withPackages (extensions: [ extensions.pgvector ]))
    (callPackage ./redis.nix { })
    chromium
    docker-client
    skopeo
    process-compose
    uv
    nixfmt-tree
  ];
  env = {
    PYTHONTZPATH = "${tzdata}/share/zoneinfo";
    SSL_CERT_FILE = "${cacert}/etc/ssl/certs/ca-bundle.crt";
    # Where process-compose finds the services if it is given no file.
    PC_CONFIG_FILES = toString (
      writeText "process-compose.yaml" (import ./process-compose.nix { }).text
    );
  };
  shellHook = ''
    DEV_ROOT=$(git rev-parse --show-toplevel 2>/dev/null || pwd)
    export DEV_ROOT DEV_FOLDER="$DEV_ROOT/.dev"
    if [ ! -s "$DEV_FOLDER/password" ]; then
      mkdir -p -m 700 "$DEV_FOLDER"
      (umask 077 && ${lib.getExe openssl} rand -hex 16 >"$DEV_FOLDER/password")
    fi
    DEV_PASSWORD=$(cat "$DEV_FOLDER/password")
    export DEV_PASSWORD
  '';
}
