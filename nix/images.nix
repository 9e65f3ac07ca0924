# The OCI images around nix/image-configs.nix: small scripts that stream an image to `docker load`, so that no gigabyte
# of tar lies in the store. Made twice, they are the same bytes: nothing in them has the date of its making.
{
  lib,
  dockerTools,
  fileintel,
  callPackage,
  postgresql_17,
  bash,
  coreutils,
  cacert,
  tzdata,
  writeShellScriptBin,
  linkFarm,
}:
let
  loaded = import ./load.nix { };
  inherit (fileintel) environment locked version;
  postgres = postgresql_17.withPackages (extensions: [ extensions.pgvector ]);
  redis = callPackage ./redis.nix { };
  script =
    name: writeShellScriptBin "${name}-entrypoint" (builtins.readFile (./images + "/${name}.sh"));

  configsWith =
    programs:
    import ./image-configs.nix {
      inherit (loaded) services settings;
      inherit version;
      programs = {
        path = lib.makeBinPath (
          [
            bash
            coreutils
          ]
          ++ programs
        );
        zoneinfo = "${tzdata}/share/zoneinfo";
        certificates = "${cacert}/etc/ssl/certs/ca-bundle.crt";
        postgresEntrypoint = lib.getExe (script "postgres");
        redisEntrypoint = lib.getExe (script "redis");
      };
    };

  # An image may have 127 layers. Left alone, nixpkgs gives the code and all wheels beyond the hundredth path one layer,
  # so that a changed line sends hundreds of megabytes. So in three lots: the wheels and what they alone need; what they
  # and the rest need (Python, glibc), which changes with nixpkgs and all at once; and the rest, a layer each: the code,
  # its environment and some small paths. Of the wheels the sixty largest have a layer each, and all others, some ten
  # megabytes, one.
  large = lib.take 60 (lib.sort (one: other: one.wheelSize > other.wheelSize) locked.runtime);
  each = lot: size: [
    "over"
    lot
    [
      "split_every"
      size
    ]
  ];
  layers = [
    [
      "split_paths"
      (map toString locked.runtime)
    ]
    [
      "over"
      "main"
      [
        "pipe"
        [
          [
            "split_paths"
            (map toString large)
          ]
          (each "main" 1)
          (each "common" 1)
          (each "rest" 1000)
        ]
      ]
    ]
    (each "common" 4)
    (each "rest" 1)
  ];

  image =
    {
      name,
      config,
      user,
      folder,
      more ? { },
    }:
    dockerTools.streamLayeredImage (
      {
        inherit name config;
        tag = version;
        created = "1970-01-01T00:00:01Z";
        contents = [
          # initdb starts its parts through a shell.
          dockerTools.binSh
          (dockerTools.fakeNss.override {
            extraPasswdLines = [ "fileintel:x:${user}:${user}:FileIntel:${folder}:/bin/false" ];
            extraGroupLines = [ "fileintel:x:${user}:" ];
          })
        ];
        # A named volume starts as a copy of the folder, owner included.
        fakeRootCommands = ''
          mkdir -p .${folder}
          install -d -m 1777 ./tmp
          chown ${user}:${user} .${folder}
        '';
      }
      // more
    );
  server =
    name: folder: programs:
    image {
      name = "fileintel-${name}";
      config = (configsWith programs).${name};
      user = "999";
      inherit folder;
    };

  images = {
    image-app = image {
      name = "fileintel";
      config = (configsWith [ environment ]).app;
      user = "1000";
      folder = "/var/lib/fileintel";
      more.layeringPipeline = layers;
    };
    image-postgres = server "postgres" "/var/lib/postgresql/data" [ postgres ];
    image-redis-broker = server "redis-broker" "/data" [ redis ];
    image-redis-cache = server "redis-cache" "/data" [ redis ];
  };

  load = writeShellScriptBin "load-images" ''
    # Streams every image into docker, or into what CONTAINER_TOOL names: podman, nerdctl.
    set -euo pipefail
    for image in ${lib.escapeShellArgs (lib.attrValues images)}; do
      "$image" | "''${CONTAINER_TOOL:-docker}" load
    done
  '';
in
images
// {
  load-images = load;
  images = linkFarm "fileintel-images-${version}" images;
}
