# The options that the NixOS and the Home Manager module share.
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

  # No option of its own for each key: claude-vm.vm(5) has them, and the generator,
  # which runs while this is built, knows better what is wrong with a value.
  sections = format.type // {
    description = "sections of keys, of which one that is repeated is a list";
  };
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
        The guest that VMs run, as `lib.mkGuest` builds it. By default that of the package.
      '';
    };

    finalPackage = lib.mkOption {
      type = lib.types.package;
      internal = true;
      readOnly = true;
      default =
        if cfg.guest == null then cfg.package else cfg.package.override { inherit (cfg) guest; };
      description = "The package that is installed.";
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
        Settings of all VMs, the contents of {file}`defaults.conf`. See
        {manpage}`claude-vm.vm(5)`.
      '';
    };

    vms = lib.mkOption {
      type = lib.types.attrsOf sections;
      default = { };
      example = {
        web = {
          VM.WorkDirectory = "%h/src/web";
          Network.PublishPort = "8080:8080";
          Install.WantedBy = "default.target";
        };
      };
      description = ''
        The {file}`.vm` files by their names, each the VM of one directory. See
        {manpage}`claude-vm.vm(5)`. A fault in one fails the build.
      '';
    };

    files = lib.mkOption {
      type = lib.types.package;
      internal = true;
      readOnly = true;
      default = pkgs.linkFarm "claude-vm-files" (
        lib.optionalAttrs (cfg.settings != { }) {
          "defaults.conf" = format.generate "defaults.conf" cfg.settings;
        }
        // lib.mapAttrs' (name: vm: {
          name = "${name}.vm";
          value = format.generate "${name}.vm" vm;
        }) cfg.vms
      );
      description = "The directory with all of them.";
    };
  };

  config.assertions = lib.mkIf cfg.enable [
    {
      assertion = cfg.guest == null || cfg.guest.system == pkgs.stdenv.hostPlatform.system;
      message = "programs.claude-vm.guest is for ${cfg.guest.system}: give mkGuest this system";
    }
  ];
}
