# The settings' values: those given, checked as nix/settings.json declares them, and the defaults of the rest. Builtins
# only. The result: values, each a string, "" where none is set; and text, which writes a value as one.
{ declared, overrides }:
let
  inherit (builtins)
    elem
    isFloat
    isInt
    mapAttrs
    match
    toJSON
    ;
  sizes = import ./sizes.nix;
  secrets = import ./secrets.nix;
  comma = builtins.concatStringsSep ", ";
  fail = text: throw "fileintel: ${text}";

  # toString would write 0.9 as 0.900000.
  text =
    value:
    if value == null then
      ""
    else if isInt value || isFloat value then
      toJSON value
    else
      toString value;

  number =
    name: kind: value:
    let
      entry = declared.${name};
      what = if kind == "integer" then "a whole number" else "a number";
      n = if match "-?[0-9]+([.][0-9]+)?" value == null then null else builtins.fromJSON value;
      outside =
        if entry ? minimum && n < entry.minimum then
          " from ${text entry.minimum}"
        else if entry ? exclusiveMinimum && n <= entry.exclusiveMinimum then
          " over ${text entry.exclusiveMinimum}"
        else if entry ? maximum && n > entry.maximum then
          " up to ${text entry.maximum}"
        else
          "";
    in
    if n == null || (kind == "integer" && !isInt n) || outside != "" then
      fail "${name}: expected ${what}${if n == null then "" else outside}, not ${toJSON value}"
    else
      value;

  checked =
    name: given:
    let
      entry =
        declared.${name} or (fail "${name} is no setting of FileIntel; nix/settings.json has all of them");
      value = text given;
    in
    if value == "" then
      ""
    else if entry.type == "secret" || secrets.hasPassword value then
      fail (secrets.refusal name)
    else if entry.type == "integer" || entry.type == "number" then
      number name entry.type value
    else if entry.type == "size" && !sizes.valid value then
      fail "${name}: expected a size such as 512M, 20G or 2gb, not ${toJSON value}"
    else if entry.type == "choice" && !elem value entry.choices then
      fail "${name}: expected one of ${comma entry.choices}, not ${toJSON value}"
    else
      value;

  # An empty one is as good as none.
  given = import ./filter-attrs.nix (_: value: value != "") (mapAttrs checked overrides);
in
{
  inherit text;
  values = mapAttrs (_: entry: text entry.default) declared // given;
}
