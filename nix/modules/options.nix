# NixOS options made from the declarations of settings.json, so that type, bounds, default and text are said once.
{ lib }:
let
  inherit (lib) mkOption types;
  known = lib.importJSON ../settings.json;
  declared = known.settings;

  number =
    entry: type:
    types.addCheck type (
      n:
      (!entry ? minimum || n >= entry.minimum)
      && (!entry ? exclusiveMinimum || n > entry.exclusiveMinimum)
      && (!entry ? maximum || n <= entry.maximum)
    );

  # "address the API listens on" -> "Address the API listens on."
  sentence = text: lib.toUpper (lib.substring 0 1 text) + lib.substring 1 (-1) text + ".";

  bounds =
    entry:
    lib.concatStrings (
      lib.optional (entry ? minimum) ", from ${toString entry.minimum}"
      ++ lib.optional (entry ? exclusiveMinimum) ", over ${toString entry.exclusiveMinimum}"
      ++ lib.optional (entry ? maximum) ", up to ${toString entry.maximum}"
    );
in
rec {
  inherit declared;
  inherit (known) connections_buffer;

  size = types.strMatching "[0-9]+ *([kKmMgGtT]([iI]?[bB])?|[bB])?" // {
    description = "size such as 512M, 20G or 2gb (powers of 1024)";
  };

  # A file that holds a secret: a path of the running host as text, so that Nix never copies it into the store.
  secretFile = types.path // {
    description = "absolute path outside the Nix store";
  };

  typeOf =
    entry:
    {
      choice = types.enum entry.choices or [ ];
      size = size;
      integer = number entry types.int // {
        description = "integer${bounds entry}";
      };
      number = number entry types.number // {
        description = "number${bounds entry}";
      };
      path = types.nullOr types.str;
      string = types.str;
    }
    .${entry.type};

  # The option of one setting, under its environment name.
  setting =
    name:
    let
      entry = declared.${name};
    in
    mkOption (
      {
        type = typeOf entry;
        inherit (entry) default;
        description = sentence entry.doc;
      }
      // lib.optionalAttrs (entry ? defaultText) { defaultText = lib.literalMD entry.defaultText; }
    );

  # Every setting that may stand in the Nix store.
  settings = lib.mapAttrs (name: _: setting name) (
    lib.filterAttrs (_: entry: entry.type != "secret") declared
  );

  # The same value under a name of its own, as `postgres.sharedBuffers` is POSTGRES_SHARED_BUFFERS: settings.NAME is its
  # default, and it wins.
  alias =
    cfg: name:
    mkOption {
      type = typeOf declared.${name};
      default = cfg.settings.${name};
      defaultText = lib.literalMD "`settings.${name}` (${builtins.toJSON declared.${name}.default})";
      description = sentence declared.${name}.doc;
    };

  # POSTGRES_SHARED_BUFFERS -> sharedBuffers
  camel =
    prefix: name:
    let
      words = lib.splitString "_" (lib.toLower (lib.removePrefix prefix name));
      upper = word: lib.toUpper (lib.substring 0 1 word) + lib.substring 1 (-1) word;
    in
    lib.concatStrings ([ (lib.head words) ] ++ map upper (lib.tail words));
}
