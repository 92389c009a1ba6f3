# The options that the NixOS module and the Home Manager module share.
self:
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.programs.claude-vm;
  format = pkgs.formats.ini { listsAsDuplicateKeys = true; };
  packages = self.packages.${pkgs.stdenv.hostPlatform.system};

  # The table of keys in internal/vmfile. The types are wide: the generator, which runs during
  # the build, gives better error messages for invalid values and unknown keys.
  keys = lib.importJSON ./keys.json;
  atom = lib.types.oneOf [
    lib.types.str
    lib.types.int
    lib.types.path
  ];
  optionOf =
    name: key:
    let
      standard = lib.optionalString (key.default != "") " The default is ${key.default}.";
    in
    lib.mkOption {
      type = lib.types.nullOr (
        if key.boolean then
          lib.types.either lib.types.bool lib.types.str
        else if key.list then
          lib.types.either atom (lib.types.listOf atom)
        else
          atom
      );
      default = null;
      description = "${key.doc}: `${name}=${key.value}`.${standard}";
    };
  # A list repeats the key. Other sections and keys are those of systemd.
  sectionOptions = lib.mapAttrs (
    section: sectionKeys:
    lib.mkOption {
      type = lib.types.submodule {
        freeformType = lib.types.attrsOf lib.types.anything;
        options = lib.mapAttrs optionOf sectionKeys;
      };
      default = { };
      description = "The section `[${section}]`.";
    }
  ) keys;
  sections = lib.types.submodule {
    freeformType = format.type;
    options = sectionOptions;
  };
  # The attributes that are set.
  contentOf =
    file:
    lib.filterAttrs (_: section: section != { }) (
      lib.mapAttrs (_: lib.filterAttrs (_: value: value != null)) file
    );
  settings = contentOf cfg.settings;

  # The guest of one VM is not a key of its file, but makes the key Guest=.
  vm = lib.types.submodule {
    freeformType = format.type;
    options = sectionOptions // {
      guest = guestOption;
    };
  };
  guestOption = lib.mkOption {
    type = lib.types.nullOr (lib.types.either lib.types.package lib.types.deferredModule);
    default = null;
    example = lib.literalExpression ''
      {
        claude-vm.guest.extraPackages = [ pkgs.nodejs ];
        claude-vm.guest.devShell = inputs.web.devShells.x86_64-linux.default;
      }
    '';
    description = ''
      A guest for this VM only: a bundle that `lib.mkGuest` has built, or a NixOS module for
      it to build one.
    '';
  };
  fileOf =
    vm:
    let
      bundle =
        if lib.isDerivation vm.guest then
          vm.guest
        else
          self.lib.mkGuest {
            inherit (pkgs.stdenv.hostPlatform) system;
            modules = [ vm.guest ];
          };
    in
    lib.recursiveUpdate (contentOf (removeAttrs vm [ "guest" ])) (
      lib.optionalAttrs (vm.guest != null) { VM.Guest = "${bundle}"; }
    );

  invalidNames = map (name: "\"${name}\"") (
    lib.filter (name: name == "" || lib.hasPrefix "." name || lib.hasInfix "/" name) (
      lib.attrNames cfg.vms
    )
  );
in
{
  options.programs.claude-vm = {
    enable = lib.mkEnableOption "Claude Code in throw-away virtual machines";

    package = lib.mkOption {
      type = lib.types.package;
      default = packages.claude-vm;
      defaultText = lib.literalExpression "claude-vm.packages.\${system}.claude-vm";
      description = "The claude-vm package to use.";
    };

    guest = lib.mkOption {
      type = lib.types.nullOr lib.types.package;
      default = null;
      example = lib.literalExpression ''
        claude-vm.lib.mkGuest {
          system = "x86_64-linux";
          extraPackages = [ pkgs.nodejs ];
        }
      '';
      description = ''
        The guest to run in VMs, as built by `lib.mkGuest`. If `null`, the guest of
        {option}`programs.claude-vm.package` is used.
      '';
    };

    finalPackage = lib.mkOption {
      type = lib.types.package;
      internal = true;
      readOnly = true;
      default =
        if cfg.guest == null then cfg.package else cfg.package.override { inherit (cfg) guest; };
      description = "The package to install, with {option}`programs.claude-vm.guest` applied.";
    };

    settings = lib.mkOption {
      type = sections;
      default = { };
      example = {
        VM.Memory = "8G";
        Share.Hide = [
          ".env"
          "secrets"
        ];
      };
      description = ''
        Settings for all VMs, written to {file}`defaults.conf`. See
        {manpage}`claude-vm.vm(5)` for the sections and keys.
      '';
    };

    vms = lib.mkOption {
      type = lib.types.attrsOf vm;
      default = { };
      example = {
        web = {
          VM.WorkDirectory = "%h/src/web";
          Network.PublishPort = "8080:8080";
          Install.WantedBy = "default.target";
        };
      };
      description = ''
        The {file}`.vm` files, by name without the suffix. Each file configures the VM of
        one work directory. See {manpage}`claude-vm.vm(5)` for the sections and keys. The
        build fails if a file is invalid.
      '';
    };

    hasFiles = lib.mkOption {
      type = lib.types.bool;
      internal = true;
      readOnly = true;
      default = settings != { } || cfg.vms != { };
      description = "Whether {option}`programs.claude-vm.files` contains any.";
    };

    files = lib.mkOption {
      type = lib.types.package;
      internal = true;
      readOnly = true;
      default = pkgs.linkFarm "claude-vm-files" (
        lib.optionalAttrs (settings != { }) {
          "defaults.conf" = format.generate "defaults.conf" settings;
        }
        // lib.mapAttrs' (name: vm: {
          name = "${name}.vm";
          value = format.generate "${name}.vm" vm;
        }) (lib.mapAttrs (_: fileOf) cfg.vms)
      );
      description = "The directory that contains {file}`defaults.conf` and the {file}`.vm` files.";
    };
  };

  config.assertions = lib.mkIf cfg.enable [
    {
      assertion = cfg.guest == null || cfg.guest.system == pkgs.stdenv.hostPlatform.system;
      message = "programs.claude-vm.guest is built for ${cfg.guest.system}; pass system = \"${pkgs.stdenv.hostPlatform.system}\" to lib.mkGuest";
    }
    {
      # The name of a file. The generator reads no subdirectories and no hidden files.
      assertion = invalidNames == [ ];
      message = "programs.claude-vm.vms: ${lib.concatStringsSep ", " invalidNames}: a name must not be empty, start with a period, or contain a slash";
    }
  ];
}
