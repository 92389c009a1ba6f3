# The text of docs/nix-options.md: all options of the three modules. An option without a
# description is an error.
{
  self,
  pkgs,
  home-manager,
}:
let
  inherit (pkgs) lib;

  # Evaluates only these modules. Without _module.check, they may define options that are
  # declared in other modules.
  optionsOf =
    modules: path:
    let
      inherit
        (lib.evalModules {
          modules = modules ++ [ { _module.check = false; } ];
          specialArgs = {
            inherit pkgs;
            lib = import "${home-manager}/modules/lib/stdlib-extended.nix" lib;
            modulesPath = toString (pkgs.path + "/nixos/modules");
          };
        })
        options
        ;
    in
    lib.filter (option: option.visible && !option.internal) (
      lib.optionAttrSetToDocList (lib.setAttrByPath path (lib.getAttrFromPath path options))
    );

  text =
    value:
    if value._type or "" == "literalExpression" || value._type or "" == "literalMD" then
      linked value.text
    else
      lib.generators.toPretty { } value;
  # Roles such as {file}`x` are an extension of Markdown in nixpkgs.
  plain =
    markdown:
    lib.concatStrings (
      map (part: if lib.isList part then "`" else part) (
        builtins.split "[{](file|command|env|manpage|option|var)[}]`" (lib.trim markdown)
      )
    );
  # Links to options, too: [](#opt-x) becomes x.
  linked =
    markdown:
    lib.concatMapStrings (part: if lib.isList part then lib.head part else part) (
      builtins.split "\\[]\\(#opt-([^)]*)\\)" markdown
    );
  code =
    value:
    if lib.hasInfix "\n" (text value) then
      "\n\n```nix\n${lib.trim (text value)}\n```"
    else
      " `${text value}`";

  section =
    option:
    lib.concatStringsSep "\n\n" (
      [
        "### `${option.name}`"
        (plain (option.description or (throw "no description: ${option.name}")))
        "Type: ${option.type}"
      ]
      ++ lib.optional (option ? default) "Default:${code option.default}"
      ++ lib.optional (option ? example) "Example:${code option.example}"
    );
  chapter =
    title: options:
    "## ${title}\n\n" + lib.concatMapStringsSep "\n\n" section options + "\n";

  shared = optionsOf [ (import ../options.nix self) ] [ "programs" "claude-vm" ];
  # The options of a module that are not shared.
  own =
    module:
    lib.filter (option: !lib.elem option.name (map (o: o.name) shared)) (
      optionsOf [ module ] [ "programs" "claude-vm" ]
    );
  guest = optionsOf [ self.nixosModules.guest ] [ "claude-vm" "guest" ];
in
''
  # Options of the Nix modules

  Generated from the modules with `nix eval --raw .#lib.optionsDocument`.

  ${chapter "NixOS and Home Manager" shared}
  ${chapter "NixOS only" (own self.nixosModules.default)}
  ${chapter "Home Manager only" (own self.homeModules.default)}
  ${chapter "Guests (modules for lib.mkGuest)" guest}
''
