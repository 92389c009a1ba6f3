# The NixOS module: programs.claude-vm for all users of the machine.
self:
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.programs.claude-vm;

  # Only built to find invalid files at build time; the generator itself runs at each
  # login. The users are not known here, so the variables are placeholders.
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
        Users to add to the `kvm` group. This is only necessary on machines where
        {file}`/dev/kvm` is not accessible to all users.
      '';
    };

    linger = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [ ];
      example = [ "alice" ];
      description = ''
        Users to enable lingering for. Their VMs keep running after they log out. VMs that
        have `WantedBy=default.target` in their {file}`.vm` file start at boot.
      '';
    };
  };

  config = lib.mkIf cfg.enable {
    assertions = [
      {
        assertion = config.security.allowUserNamespaces;
        message = "programs.claude-vm requires security.allowUserNamespaces, because virtiofsd uses user namespaces";
      }
    ];

    environment = {
      systemPackages = [ cfg.finalPackage ];
      # The reference to `checked` makes the build fail if a file is invalid.
      etc."claude-vm/user" = lib.mkIf cfg.hasFiles {
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
