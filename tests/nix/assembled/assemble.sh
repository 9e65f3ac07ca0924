#!/bin/sh
# Assembles a nixpkgs that NixOS systems and all of the flake's outputs can be evaluated with, where the whole of it
# cannot be fetched, for FILEINTEL_NIXPKGS:
#   assemble.sh LIB NIXOS CORE CORE_LIB SUPPORT [POSTGRESQL] OUT
# LIB         checkout of nix-community/nixpkgs.lib
# NIXOS       a folder nixos/ of nixpkgs, alone
# CORE        checkout of ekala-project/corepkgs, and CORE_LIB of ekala-project/nix-lib
# SUPPORT     a folder pkgs/ of nixpkgs with pkgs-lib and build-support/mkshell
# POSTGRESQL  nixpkgs's services/databases/postgresql.nix, where that of NIXOS is older than postgresql.target
set -eu
[ $# -eq 6 ] || [ $# -eq 7 ] || { sed -n 's/^# \{0,1\}//p' "$0" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
lib=$1 nixos=$2 core=$3 core_lib=$4 support=$5
if [ $# -eq 7 ]; then postgresql=$6 out=$7; else postgresql= out=$6; fi
mkdir "$out"
cp -r "$lib/lib" "$out/lib"
cp -r "$nixos" "$out/nixos"
cp -r "$core" "$out/core"
cp -r "$core_lib" "$out/core-lib"
echo '{ lib = ../core-lib; }' >"$out/core/pins.nix"
# Its sources are in no folder of NixOS's.
mkdir -p "$out/nixos/doc/manual" "$out/pkgs/top-level" "$out/pkgs/build-support"
cat >"$out/nixos/doc/manual/default.nix" <<'END'
{ pkgs, ... }:
pkgs.lib.genAttrs [ "manualHTML" "manualHTMLIndex" "nixos-configuration-reference-manpage" ] (_: pkgs.emptyDirectory)
END
cp -r "$support/pkgs-lib" "$out/pkgs/"
cp -r "$support/build-support/mkshell" "$out/pkgs/build-support/"
echo 'import ../..' >"$out/pkgs/top-level/default.nix"
[ -z "$postgresql" ] || cp "$postgresql" "$out/nixos/modules/services/databases/postgresql.nix"
cp "$here/default.nix" "$here/flake.nix" "$out/"
