# What the images that tools/images.py assembles of Debian's packages run, from the same process list and the same
# config objects as nix/images.nix: only where programs lie is said here. Builtins only;
# tools/render_debian_images.py writes it to nix/debian-images.json for hosts without Nix.
let
  loaded = import ./load.nix { };
  configs =
    folders:
    import ./image-configs.nix {
      inherit (loaded) services settings version;
      programs = {
        path = builtins.concatStringsSep ":" (
          folders
          ++ [
            "/usr/local/bin"
            "/usr/bin"
            "/bin"
          ]
        );
        zoneinfo = "/usr/share/zoneinfo";
        certificates = "/etc/ssl/certs/ca-certificates.crt";
        postgresEntrypoint = "/usr/local/bin/postgres-entrypoint";
        redisEntrypoint = "/usr/local/bin/redis-entrypoint";
      };
    };
in
{
  inherit (loaded) version;
  images = {
    fileintel = (configs [ "/opt/fileintel/bin" ]).app;
    fileintel-postgres = (configs [ "/usr/lib/postgresql/17/bin" ]).postgres;
    fileintel-redis-broker = (configs [ ]).redis-broker;
    fileintel-redis-cache = (configs [ ]).redis-cache;
  };
}
