# FileIntel built by Nix with nixpkgs's own builders where neither a binary cache nor the sources of a standard
# environment can be reached: on the tools of a Debian 13, by its Nix, as root and without a sandbox.
#
#   apt-get install nix-bin patchelf file make gcc libc6-dev binutils unzip perl xz-utils fakeroot jq xutils-dev \
#     python3-pyelftools python3-igraph python3-toolz postgresql-17-pgvector valkey-server valkey-tools
#   nix-build --option sandbox false build.nix -A fileintel --arg nixpkgs FOLDER --arg python FOLDER --arg wheels FOLDER \
#     --arg bootstrap FOLDER
#
# nixpkgs     one that assemble.sh put together
# python      a CPython 3.12 that can be moved, with bin/ and lib/
# wheels      what `pip download --require-hashes -r requirements.lock -r requirements-dev.lock` loads for it
# bootstrap   wheels of what nixpkgs builds Python packages with: the ones of `versions`
#
# Attributes besides those of nixpkgs: fileintel, fileintel.editable (the devshell's Python), images.image-*, checks. What
# is built works with Debian's glibc, locales, time zones, bash and Postgres's share/ in their places, and nowhere else.
{
  nixpkgs,
  python,
  wheels,
  bootstrap,
  root ? ../../..,
}:
let
  lib = import (nixpkgs + "/lib");
  core = nixpkgs + "/core";
  libraries = "/usr/lib/x86_64-linux-gnu";

  # The last command is none of coreutils', which close their output before they end: Nix would kill them then.
  raw =
    name: script:
    derivation {
      inherit name;
      system = "x86_64-linux";
      builder = "/bin/bash";
      args = [
        "-ec"
        ''
          export PATH=/usr/bin:/bin
          mkdir -p $out/bin
          ${script}
          true
        ''
      ];
    }
    // {
      pname = name;
      version = "1";
      meta.mainProgram = name;
      override = _: raw name script;
    };
  tools = name: programs: raw name "cd /usr/bin; cp -L ${toString programs} $out/bin/";
  files =
    name: folder: paths:
    raw name "mkdir -p $out/${folder}; cp -rL ${toString paths} $out/${folder}/";

  gccLib = files "gcc-lib" "lib" [
    "${libraries}/libstdc++.so.6"
    "${libraries}/libgcc_s.so.1"
  ];
  # What auto-patchelf asks: where the loader is, and what comes with it.
  loader = raw "bintools" ''
    mkdir -p $out/nix-support $out/libc/lib
    cp ${libraries}/lib{c,m}.so.6 ${libraries}/lib{mvec,util}.so.1 ${libraries}/lib{dl,resolv}.so.2 $out/libc/lib/
    cp ${libraries}/lib{pthread.so.0,rt.so.1} ${libraries}/ld-linux-x86-64.so.2 $out/libc/lib/
    echo /lib64/ld-linux-x86-64.so.2 >$out/nix-support/dynamic-linker
    echo $out/libc >$out/nix-support/orig-libc
  '';
  # For the wrappers of commands, which are compiled.
  compiler = raw "cc" "ln -s /usr/bin/gcc $out/bin/cc; ln -s /usr/bin/gcc $out/bin/gcc" // {
    cc.lib = gccLib;
    lib = gccLib;
    isGNU = true;
    isClang = false;
    bintools = loader // {
      dynamicLinker = "/lib64/ld-linux-x86-64.so.2";
    };
    libc = null;
    targetPrefix = "";
  };

  stages =
    {
      localSystem,
      config,
      overlays,
      ...
    }:
    [
      (_: { __raw = true; })
      (_: {
        inherit config overlays;
        stdenv = import (core + "/stdenv/generic") {
          name = "stdenv-of-debian";
          buildPlatform = localSystem;
          hostPlatform = localSystem;
          targetPlatform = localSystem;
          preHook = ''
            export NIX_BINTOOLS=${loader}
          '';
          initialPath = [ "/usr" ];
          shell = "/bin/bash";
          cc = compiler;
          hasCC = false;
          fetchurlBoot = throw "nothing is fetched";
          inherit config;
        };
      })
    ];

  # Not the locked versions, as nixpkgs's are not.
  versions = {
    build = "1.3.0";
    flit-core = "3.12.0";
    hatchling = "1.27.0";
    installer = "0.7.0";
    packaging = "25.0";
    pathspec = "1.1.1";
    pip = "25.3";
    pluggy = "1.7.0";
    pyproject-hooks = "1.2.0";
    setuptools = "80.9.0";
    tomli-w = "1.2.0";
    trove-classifiers = "2026.9.21.13";
    wheel = "0.45.1";
  };
  needs = {
    build = [
      "packaging"
      "pyproject-hooks"
    ];
    hatchling = [
      "packaging"
      "pathspec"
      "pluggy"
      "trove-classifiers"
    ];
  };
  builders =
    final: self: _:
    let
      site = self.python.sitePackages;
      unpacked =
        name: version:
        self.toPythonModule (
          final.stdenv.mkDerivation {
            pname = "python3.12-${name}";
            inherit version;
            src = bootstrap + "/${lib.replaceStrings [ "-" ] [ "_" ] name}-${version}-py3-none-any.whl";
            dontUnpack = true;
            dontConfigure = true;
            dontBuild = true;
            installPhase = ''
              mkdir -p $out/${site}
              unzip -q $src -d $out/${site}
            ''
            + lib.optionalString (name == "build") ''
              mkdir $out/bin
              cat >$out/bin/pyproject-build <<END
              #!${self.python}/bin/python3.12
              import site
              for folder in "$out ${all.packaging} ${all.pyproject-hooks}".split():
                  site.addsitedir(folder + "/${site}")
              from build.__main__ import entrypoint
              entrypoint()
              END
              chmod +x $out/bin/pyproject-build
            '';
            nativeBuildInputs = [ final.unzip ];
            propagatedBuildInputs = map (other: all.${other}) (needs.${name} or [ ]);
          }
          // {
            override = _: all.${name};
          }
        );
      all = lib.mapAttrs unpacked versions;
    in
    all
    // {
      bootstrap = {
        inherit (all)
          build
          flit-core
          installer
          packaging
          ;
      };
    };

  debian =
    final: prev:
    lib.mapAttrs tools {
      bintools = [
        "readelf"
        "objdump"
        "strip"
      ];
      findutils = [
        "find"
        "xargs"
      ];
      gnugrep = [ "grep" ];
      gnused = [ "sed" ];
      jq = [ "jq" ];
      lndir = [ "lndir" ];
      patchelf = [ "patchelf" ];
      perl = [ "perl" ];
      unzip = [ "unzip" ];
    }
    // {
      bash = tools "bash" [
        "bash"
        "sh"
      ];
      bashNonInteractive = final.bash;
      runtimeShell = "/bin/bash";
      coreutils = raw "coreutils" "dpkg -L coreutils | grep ^/usr/bin/ | xargs cp -L -t $out/bin";
      fakeroot = raw "fakeroot" "ln -s /usr/bin/fakeroot $out/bin/fakeroot";
      zlib = files "zlib" "lib" [ "${libraries}/libz.so.1" ];
      tzdata = files "tzdata" "share" [ "/usr/share/zoneinfo" ];
      cacert = raw "cacert" "install -D /etc/ssl/certs/ca-certificates.crt $out/etc/ssl/certs/ca-bundle.crt";
      auto-patchelf = raw "auto-patchelf" ''
        (echo '#!/usr/bin/python3'; cat ${core}/pkgs/auto-patchelf/source/auto-patchelf.py) >$out/bin/auto-patchelf
        chmod +x $out/bin/auto-patchelf
      '';
      flatten-references-graph = raw "flatten-references-graph" ''
        cp -r ${core}/pkgs/flatten-references-graph/src $out/src
        printf '#!/bin/bash\nPYTHONPATH=%s exec /usr/bin/python3 -m flatten_references_graph "$@"\n' $out/src \
          >$out/bin/flatten_references_graph
        chmod +x $out/bin/flatten_references_graph
      '';
      dockerTools = prev.dockerTools.override {
        fakeNss_ = final.callPackage (core + "/build-support/fake-nss") { };
        writePython3 =
          name: _: script:
          raw name "rm -r $out; (echo '#!/usr/bin/python3'; cat ${script}) >$out; chmod +x $out";
      };

      fetchurl =
        { url, sha256, ... }:
        assert lib.hasPrefix "mirror://pypi/../" url;
        builtins.path {
          name = baseNameOf url;
          path = wheels + "/${baseNameOf url}";
          recursive = false;
          inherit sha256;
        };

      # All that nixpkgs's Python says of itself, around another one's files.
      python312 =
        (prev.python312.override {
          self = final.python312;
          packageOverrides = builders final;
        }).overrideAttrs
          (
            lib.genAttrs [
              "nativeBuildInputs"
              "buildInputs"
              "propagatedBuildInputs"
              "patches"
              "configureFlags"
            ] (_: [ ])
            // lib.genAttrs [ "postPatch" "preConfigure" "postInstall" "preFixup" "postFixup" "LDFLAGS" ] (
              _: ""
            )
            // {
              env = { };
              src = null;
              dontUnpack = true;
              dontConfigure = true;
              dontBuild = true;
              dontStrip = true;
              doInstallCheck = false;
              disallowedReferences = [ ];
              outputs = [ "out" ];
              installPhase = ''
                cp -r ${python}/. $out
                chmod -R u+w $out
                rm -rf $out/lib/python3.12/site-packages/* $out/bin/[!p]* $out/bin/pip* $out/bin/pydoc*
                patchelf --set-rpath $out/lib $out/bin/python3.12
                ln -sf python3.12 $out/bin/python3
                ln -sf python3.12 $out/bin/python
                cp ${core}/python/sitecustomize.py $out/lib/python3.12/site-packages/
              '';
            }
          );
      python3 = final.python312;
      python313 = final.python312;
    };

  postgresql =
    raw "postgresql" ''
      cp -L /usr/lib/postgresql/17/bin/* $out/bin/
      cp -rL /usr/lib/postgresql/17/lib $out/
    ''
    // {
      version = "17.5";
      psqlSchema = "17";
      installedExtensions = [ ];
      pkgs.pgvector = null;
      withPackages = _: postgresql;
      withJIT = postgresql;
      withoutJIT = postgresql;
    };

  # What NixOS asks of its systemd.
  systemdParts = [
    "Bootloader"
    "Cryptsetup"
    "Efi"
    "Hostnamed"
    "Importd"
    "Localed"
    "Machined"
    "Portabled"
    "Timedated"
    "Tpm2Tss"
    "Utmp"
  ];

  ours = final: _: {
    fileintel = final.callPackage (root + "/nix/package.nix") { };
    images = final.callPackage (root + "/nix/images.nix") { };
    checks = import (root + "/nix/checks.nix") {
      pkgs = final;
      self = null;
    };
    postgresql_17 = postgresql;
    inherit postgresql;
    valkey = tools "valkey" [
      "valkey-server"
      "valkey-cli"
    ];
    systemd =
      raw "systemd" "ln -s /usr/bin/systemctl /usr/bin/systemd-run /usr/bin/systemd-tmpfiles $out/bin/"
      // lib.genAttrs (map (part: "with${part}") systemdParts) (_: true);
    redis =
      raw "redis" "for part in server cli; do cp -L /usr/bin/valkey-$part $out/bin/redis-$part; done"
      // {
        serverBin = "redis-server";
      };
  };
in
import nixpkgs {
  system = "x86_64-linux";
  stdenvStages = stages;
  overlays = [
    debian
    ours
  ];
}
