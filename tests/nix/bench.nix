# The options of NixOS that FileIntel's modules touch, as few and as loose as they can be: with nixpkgs's lib alone the
# modules are evaluated on this bench. `nixos` is that folder of a nixpkgs: then its own modules of systemd, Postgres
# and Redis are taken, and what they ask of the packages is answered by names. Nothing is ever built here.
{
  lib,
  nixos ? null,
}:
let
  inherit (lib) mkOption types;
  any =
    default:
    mkOption {
      type = types.anything;
      inherit default;
    };
  texts = mkOption {
    type = types.listOf types.str;
    default = [ ];
  };
  list = mkOption {
    type = types.listOf types.raw;
    default = [ ];
  };
  flag = mkOption {
    type = types.bool;
    default = false;
  };
  # As NixOS has it: a value, or a list of values that is written line by line; two definitions are one list.
  one = types.oneOf [
    types.bool
    types.int
    types.str
  ];
  section = mkOption {
    type = types.attrsOf (types.either one (types.listOf one));
    default = { };
  };

  service = types.submodule {
    options = {
      description = any "";
      after = texts;
      wants = texts;
      requires = texts;
      wantedBy = texts;
      environment = mkOption {
        type = types.attrsOf types.str;
        default = { };
      };
      path = list;
      restartTriggers = list;
      script = any "";
      startAt = any "";
      unitConfig = section;
      serviceConfig = section;
    };
  };

  redis = types.submodule {
    options = {
      enable = flag;
      port = any 0;
      bind = any null;
      unixSocket = any "/run/redis.sock";
      appendOnly = flag;
      appendFsync = any "everysec";
      save = any [ 1 ];
      requirePassFile = any null;
      settings = any { };
    };
  };

  file = name: text: builtins.toFile name (builtins.unsafeDiscardStringContext text);
  package =
    name:
    let
      self = {
        type = "derivation";
        inherit name;
        pname = name;
        version = "99";
        outPath = "/nix/store/00000000000000000000000000000000-${name}";
        outputs = [ "out" ];
        meta.mainProgram = name;
        override = _: self;
        overrideAttrs = _: self;
      };
    in
    self;
  postgresql = package "postgresql" // {
    psqlSchema = "17";
    version = "17.5";
    jitSupport = false;
    withJIT = postgresql;
    withoutJIT = postgresql;
    withPackages = _: postgresql;
    pkgs.pgvector = package "pgvector";
  };
  text = name: content: package name // { text = content; };
  platform = lib.systems.elaborate "x86_64-linux";
  pkgs =
    lib.genAttrs [
      "bash"
      "bashInteractive"
      "coreutils"
      "findutils"
      "gnugrep"
      "gnused"
      "jq"
      "redis"
      "systemd"
      "tzdata"
    ] package
    // {
      inherit postgresql;
      postgresql_15 = postgresql;
      postgresql_16 = postgresql;
      postgresql_17 = postgresql;
      stdenv = {
        hostPlatform = platform;
        buildPlatform = platform;
        shellPackage = package "bash";
      };
      runtimeShell = "/bin/sh";
      # Nix 2.8 has not what file sets need.
      lib = lib // {
        fileset = {
          unions = files: files;
          toSource = { root, ... }: root;
        };
      };
      fileintel = package "fileintel" // {
        environment = package "fileintel-environment";
      };
      python3.withPackages = _: package "python3-env";
      valkey = package "valkey" // {
        serverBin = "valkey-server";
      };
      writeText = if nixos == null then file else text;
      writeTextDir = text;
      writeTextFile = { name, ... }@given: text name given.text;
      writeScript = text;
      writeShellScript = if nixos == null then file else text;
      writeShellScriptBin = text;
      runCommand =
        name: environment: content:
        text name content // { inherit environment; };
      runCommandLocal = pkgs.runCommand;
    };

  # What nobody but a whole system has a use for.
  common = {
    environment.etc = any { };
    environment.systemPackages = list;
    fileSystems = any { };
    networking.firewall.allowedTCPPorts = list;
    networking.hostName = any "";
    nixpkgs = any { hostPlatform = platform; };
    system.checks = list;
    system.stateVersion = any "26.05";
    users.users = any { };
    users.groups = any { };
    virtualisation = any { };
  };

  loose = {
    assertions = list;
    boot = any { };
    services.postgresql = {
      enable = flag;
      package = any postgresql;
      extensions = any null;
      ensureDatabases = texts;
      ensureUsers = list;
      enableTCPIP = flag;
      authentication = mkOption {
        type = types.lines;
        default = "";
      };
      settings = mkOption {
        type = types.submodule {
          freeformType = types.attrsOf types.anything;
          options.port = any 5432;
        };
        default = { };
      };
    };
    services.redis.package = any null;
    services.redis.servers = mkOption {
      type = types.attrsOf redis;
      default = { };
    };
    systemd = {
      package = any pkgs.systemd;
      services = mkOption {
        type = types.attrsOf service;
        default = { };
      };
      slices = any { };
      timers = any { };
      tmpfiles.settings = any { };
    };
  };

  real = map (name: nixos + "/modules/${name}") [
    "misc/assertions.nix"
    "misc/extra-arguments.nix"
    "misc/ids.nix"
    "misc/lib.nix"
    "misc/meta.nix"
    "services/databases/postgresql.nix"
    "services/databases/redis.nix"
    "system/boot/systemd.nix"
    "system/boot/systemd/tmpfiles.nix"
  ];
in
{
  inherit pkgs;
  evaluate =
    modules:
    lib.evalModules {
      specialArgs = lib.optionalAttrs (nixos != null) { modulesPath = toString (nixos + "/modules"); };
      modules =
        modules
        ++ (if nixos == null then [ { options = loose; } ] else real)
        ++ [
          {
            options = common;
            config._module.args = {
              inherit pkgs;
              baseModules = [ ];
              extraModules = [ ];
            };
            # NixOS's own modules speak of each other.
            config._module.check = nixos == null;
          }
        ];
    };
}
