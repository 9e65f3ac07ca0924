# The wheels of wheels.json as Python packages, one derivation each, patched for NixOS where they hold native code.
#
# A wheel is taken as its maker built it, so that what runs here is what pip would install: the same versions and hashes
# stand in requirements.lock. No package refers to another: they are one set, locked together, and an environment takes
# all of it (python.buildEnv), which is also what fails if two of them hold the same file.
{
  lib,
  stdenv,
  python312,
  fetchurl,
  autoPatchelfHook,
  zlib,
}:
let
  locked = lib.importJSON ./wheels.json;
  python = python312;
  inherit (stdenv.hostPlatform) system;

  # nixpkgs's scheme begins at the folder of the index's source archives; the others lie beside it. The address that
  # fetchPypi would make of a wheel's name is answered only where its uploader said the same as the name.
  fetch =
    wheel:
    fetchurl {
      url = "mirror://pypi/../${wheel.folder}/${wheel.file}";
      inherit (wheel) sha256;
    };

  package =
    name: entry:
    let
      wheel = entry.wheels.any or entry.wheels.${system};
      native = !lib.hasSuffix "-none-any.whl" wheel.file;
    in
    python.pkgs.buildPythonPackage {
      pname = name;
      inherit (entry) version;
      format = "wheel";
      src = fetch wheel;
      nativeBuildInputs = lib.optional native autoPatchelfHook;
      # What manylinux wheels may expect of a system, and these do.
      buildInputs = lib.optionals native [
        stdenv.cc.cc.lib
        zlib
      ];
      dontStrip = true;
      # Its dependencies come with the environment.
      dontCheckRuntimeDeps = true;
      doCheck = false;
      passthru.wheelSize = wheel.size;
    };

  forSystem = lib.filterAttrs (
    _: entry: entry.wheels ? any || entry.wheels ? ${system}
  ) locked.packages;
  all = lib.mapAttrs package forSystem;
  group = name: lib.attrValues (lib.filterAttrs (key: _: forSystem.${key}.group == name) all);
in
assert lib.assertMsg (
  python.pythonVersion == locked.python
) "nix/wheels.json is for Python ${locked.python}";
{
  inherit python;
  wheels = all;
  runtime = group "runtime";
  dev = group "dev";
}
