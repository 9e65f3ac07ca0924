# FileIntel itself: its code, tested, in an environment of the locked wheels. Name, version and entry points are those
# of pyproject.toml.
{
  lib,
  callPackage,
  runCommandLocal,
  cacert,
  tzdata,
}:
let
  locked = callPackage ./python.nix { };
  inherit (locked) python;
  inherit ((lib.importTOML ../pyproject.toml)) project;
  commands = lib.attrNames project.scripts;

  code = python.pkgs.buildPythonPackage {
    pname = project.name;
    inherit (project) version;
    pyproject = true;
    src = lib.fileset.toSource {
      root = ../.;
      fileset = lib.fileset.unions [
        ../fileintel
        ../pyproject.toml
        ../README.md
        ../LICENSE
        # What the unit tests may read besides.
        ../tests
      ];
    };
    build-system = [ locked.wheels.setuptools ];
    doCheck = true;
    nativeCheckInputs = locked.runtime ++ locked.dev;
    # The environment below has them: here they would be written into every command as a search path.
    dependencies = [ ];
    dontCheckRuntimeDeps = true;
    pythonImportsCheck = [
      project.name
      "fileintel.api.app"
      "fileintel.cli"
      "fileintel.topology"
    ];
    env.PYTHONTZPATH = "${tzdata}/share/zoneinfo";
    checkPhase = ''
      runHook preCheck
      export HOME=$TMPDIR FILEINTEL_STATE_DIR=$TMPDIR/state
      # HTTP clients read certificates even where they ask this machine alone, and builds are told of none.
      export SSL_CERT_FILE=${cacert}/etc/ssl/certs/ca-bundle.crt
      python -m pytest tests/unit -q -p no:cacheprovider
      runHook postCheck
    '';
  };

  environment = python.buildEnv.override { extraLibs = locked.runtime ++ [ code ]; };

  # For work on the code: the same with the tools, and instead of the code its name, version and commands; the code is
  # that of the folder DEV_ROOT.
  editable = python.buildEnv.override {
    extraLibs =
      locked.runtime
      ++ locked.dev
      ++ [
        (python.pkgs.mkPythonEditablePackage {
          pname = project.name;
          inherit (project) version scripts;
          root = "$DEV_ROOT";
        })
      ];
  };
in
# Of the environment's commands only ours, and Celery's to look at the workers.
runCommandLocal "${project.name}-${project.version}"
  {
    inherit (project) version;
    pname = project.name;
    passthru = {
      inherit
        code
        editable
        environment
        locked
        project
        python
        ;
    };
    meta = {
      inherit (project) description;
      license = lib.licenses.mit;
      mainProgram = project.name;
      platforms = [
        "x86_64-linux"
        "aarch64-linux"
      ];
    };
  }
  ''
    mkdir -p $out/bin
    for command in ${lib.escapeShellArgs (commands ++ [ "celery" ])}; do
      ln -s ${environment}/bin/$command $out/bin/$command
    done
  ''
