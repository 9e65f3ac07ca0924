# `nix run`: the command line, which alone shows the demo; the demo; and the images, loaded.
{ pkgs, load-images }:
let
  inherit (pkgs.lib) getExe;
  command = getExe pkgs.fileintel;
  app = program: description: {
    type = "app";
    program = getExe program;
    meta = { inherit description; };
  };
in
{
  default = app (pkgs.writeShellScriptBin "fileintel-run" ''
    [ $# -gt 0 ] || set -- demo
    exec ${command} "$@"
  '') "The command line, or the demo";
  demo = app (pkgs.writeShellScriptBin "fileintel-demo" ''
    exec ${command} demo "$@"
  '') "Index a small collection and ask it questions";
  load-images = app load-images "Load the OCI images into docker";
}
