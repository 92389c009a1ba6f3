# The options of a guest.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.claude-vm.guest;

  # The files of claude-vm.guest.files as systemd-tmpfiles copies them. What is in
  # the home is the user's, and so are the directories that it is in.
  inHome = lib.hasPrefix "/home/claude/";
  parents =
    path:
    let
      dir = dirOf path;
    in
    lib.optionals (inHome dir) (parents dir ++ [ dir ]);
  tmpfiles =
    lib.genAttrs (lib.unique (lib.concatMap parents (lib.attrNames cfg.files))) (_: {
      d = {
        user = "claude";
        group = "claude";
      };
    })
    // lib.mapAttrs (path: file: {
      "C+" = {
        argument = toString file.source;
        mode = if file.executable then "0755" else "0644";
      }
      // lib.optionalAttrs (inHome path) {
        user = "claude";
        group = "claude";
      };
    }) cfg.files;
in
{
  options.claude-vm.guest = {
    package = lib.mkOption {
      type = lib.types.package;
      internal = true;
      description = "The agent and what else is the same in every guest.";
    };

    bundle = lib.mkOption {
      type = lib.types.package;
      readOnly = true;
      internal = true;
      description = "The guest bundle.";
    };

    extraPackages = lib.mkOption {
      type = lib.types.listOf lib.types.package;
      default = [ ];
      example = lib.literalExpression "[ pkgs.nodejs pkgs.go ]";
      description = "Packages on Claude's {env}`PATH`, and on that of all shells in the guest.";
    };

    files = lib.mkOption {
      type = lib.types.attrsOf (
        lib.types.submodule (
          { name, config, ... }:
          {
            options = {
              text = lib.mkOption {
                type = lib.types.nullOr lib.types.lines;
                default = null;
                description = "What is in the file.";
              };
              source = lib.mkOption {
                type = lib.types.path;
                description = ''
                  The file, or directory, that is copied. It can be read in every VM: no secrets.
                '';
              };
              executable = lib.mkOption {
                type = lib.types.bool;
                default = false;
                description = "Whether it can be executed.";
              };
            };
            config.source = lib.mkIf (config.text != null) (
              lib.mkDefault (pkgs.writeText (baseNameOf name) config.text)
            );
          }
        )
      );
      default = { };
      example = lib.literalExpression ''
        {
          "/home/claude/.config/git/config".text = "[user]\n\tname = Claude\n";
        }
      '';
      description = ''
        Files of the guest by their absolute paths. Those below {file}`/home/claude`
        belong to Claude, others to root. They are copies: what changes them in a VM is
        gone with it.
      '';
    };

    devShell = lib.mkOption {
      type = lib.types.nullOr lib.types.package;
      default = null;
      example = lib.literalExpression "self.devShells.x86_64-linux.default";
      description = ''
        A shell of {command}`nix develop`, such as a project's own, whose variables,
        {env}`PATH` among them, Claude and all shells in the guest have. Its
        `shellHook` is not run.
      '';
    };

    writableStore = lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = ''
        Whether {command}`nix` works in the guest. What it builds is in the VM's
        memory, and gone with it.
      '';
    };
  };

  config = {
    environment.systemPackages = cfg.extraPackages;
    environment.etc.environment = lib.mkIf (cfg.devShell != null) {
      source = import ./dev-shell.nix { shell = cfg.devShell; };
    };
    systemd.tmpfiles.settings.claude-vm-files = tmpfiles;

    microvm = {
      # Of use to nix alone.
      registerClosure = cfg.writableStore;
      writableStoreOverlay = lib.mkIf cfg.writableStore "/nix/.rw-store";
    };
    fileSystems."/nix/.rw-store" = lib.mkIf cfg.writableStore {
      device = "rw-store";
      fsType = "tmpfs";
      options = [
        "mode=0755"
        "size=80%"
      ];
      neededForBoot = true;
    };
    nix = {
      enable = cfg.writableStore;
      settings.experimental-features = [
        "nix-command"
        "flakes"
      ];
    };
  };
}
