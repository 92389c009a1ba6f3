# programs.claude-vm for NixOS: for all users of the machine.
self:
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.programs.claude-vm;

  # For the faults alone: the generator runs at each login. Of a user whom nobody
  # knows yet, the home and its like are any.
  checked = pkgs.callPackage ./units.nix {
    inherit (cfg.package) programs;
    inherit (cfg) files;
    place = "/etc/claude-vm/user";
    environment = {
      HOME = "/home/user";
      USER = "user";
      XDG_RUNTIME_DIR = "/run/user/1000";
    };
  };
in
{
  imports = [ (import ./options.nix self) ];

  options.programs.claude-vm = {
    users = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [ ];
      example = [ "alice" ];
      description = ''
        Users who become members of the group `kvm`, for machines where {file}`/dev/kvm` is
        not open to all.
      '';
    };

    linger = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [ ];
      example = [ "alice" ];
      description = ''
        Users whose VMs run on when they have logged out, and start with the machine if
        their files say so.
      '';
    };
  };

  config = lib.mkIf cfg.enable {
    assertions = [
      {
        assertion = config.security.allowUserNamespaces;
        message = "programs.claude-vm needs security.allowUserNamespaces, for virtiofsd";
      }
    ];

    environment = {
      systemPackages = [ cfg.finalPackage ];
      # Links to files of a directory that is built only if none is at fault.
      etc."claude-vm/user" = lib.mkIf (cfg.settings != { } || cfg.vms != { }) {
        source = pkgs.runCommandLocal "claude-vm-files-checked" { } ''
          : ${checked}
          ln -s ${cfg.files} $out
        '';
      };
    };

    systemd = {
      packages = [ cfg.finalPackage ];
      user.generators.claude-vm-generator = "${cfg.finalPackage}/bin/claude-vm-generator";
    };

    users.users = lib.mkMerge [
      (lib.genAttrs cfg.users (_: { extraGroups = [ "kvm" ]; }))
      (lib.genAttrs cfg.linger (_: { linger = true; }))
    ];
  };
}
