# Data -> YAML, for files that people read: keys in the order of `first`, then by name; strings bare where that is safe.
# A set's `_anchor` names it for later, its `_merge` is the list of names it takes over. Builtins only.
{ first }:
let
  inherit (builtins)
    attrNames
    concatMap
    elem
    filter
    hasAttr
    isAttrs
    isList
    isString
    match
    toJSON
    ;
  # No strings in YAML, in whatever case.
  words = [
    "true"
    "false"
    "yes"
    "no"
    "on"
    "off"
    "null"
    "y"
    "n"
  ];
  letters = word: filter (letter: isString letter && letter != "") (builtins.split "" word);
  lower = builtins.replaceStrings (letters "AEFLNORSTUY") (letters "aeflnorstuy");
  bare = text: match "[A-Za-z_/][A-Za-z0-9_./-]*" text != null && !elem (lower text) words;
  scalar = value: if isString value && bare value then value else toJSON value;
  keys =
    set:
    filter (key: hasAttr key set) first
    ++ filter (
      key:
      !elem key (
        [
          "_anchor"
          "_merge"
        ]
        ++ first
      )
    ) (attrNames set);
  empty = value: value == { } || value == [ ];

  # The text behind "key:" or "-", and the lines beneath it.
  entry =
    indent: head: value:
    if isAttrs value && !empty value then
      [ "${indent}${head}${if value ? _anchor then " &${value._anchor}" else ""}" ]
      ++ lines "${indent}  " value
    else if isList value && !empty value then
      if
        builtins.all (item: !isAttrs item && !isList item) value
        && builtins.stringLength (toJSON value) < 90
      then
        [ "${indent}${head} [${builtins.concatStringsSep ", " (map scalar value)}]" ]
      else
        [ "${indent}${head}" ] ++ concatMap (item: entry "${indent}  " "-" item) value
    else
      [ "${indent}${head} ${if value == { } then "{}" else scalar value}" ];

  lines =
    indent: set:
    (
      if set ? _merge then
        [ "${indent}<<: [${builtins.concatStringsSep ", " (map (name: "*${name}") set._merge)}]" ]
      else
        [ ]
    )
    ++ concatMap (key: entry indent "${scalar key}:" set.${key}) (keys set);
in
value: builtins.concatStringsSep "\n" (lines "" value) + "\n"
