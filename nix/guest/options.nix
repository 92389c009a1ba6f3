# The options of a guest.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.claude-vm.guest;

  # Variables as pam_env(8) reads them, which expands nothing.
  plain = lib.filterAttrs (_: value: !lib.hasInfix "$" value && !lib.hasInfix "\n" value) (
    lib.mapAttrs (_: toString) config.environment.variables
  );
  variables = pkgs.writeText "variables" (
    lib.concatStrings (lib.mapAttrsToList (name: value: "${name}=\"${value}\"\n") plain)
  );
  shellVariables = import ./dev-shell.nix { shell = cfg.devShell; };

  # Makes a copy that can be changed, with the directories that it is in. In the home
  # all of it is the user's.
  copy =
    path: file:
    let
      inHome = lib.hasPrefix "/home/claude/" path;
    in
    ''
      ${lib.optionalString inHome "runuser -u claude -- "}mkdir -p ${lib.escapeShellArg (dirOf path)}
      rm -rf ${lib.escapeShellArg path}
      cp -rT ${file.source} ${lib.escapeShellArg path}
      chmod -R u+w${lib.optionalString file.executable ",+x"} ${lib.escapeShellArg path}
      ${lib.optionalString inHome "chown -R claude:claude ${lib.escapeShellArg path}"}
    '';
in
{
  options.claude-vm.guest = {
    package = lib.mkOption {
      type = lib.types.package;
      internal = true;
      default = pkgs.callPackage ./tree.nix {
        inherit (pkgs.callPackage ../programs.nix { version = "guest"; }) agent;
      };
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
        Whether {command}`nix` works in the guest, with the nixpkgs that the guest is made
        of. What it builds is in the VM's memory, and gone with it.
      '';
    };
  };

  config = {
    environment = {
      systemPackages = cfg.extraPackages;
      etc.environment.source =
        if cfg.devShell == null then
          variables
        else
          pkgs.runCommandLocal "environment" { } "cat ${variables} ${shellVariables} >$out";
      # A login shell makes its PATH anew.
      extraInit = lib.mkIf (cfg.devShell != null) ''
        export PATH="$(sed -n 's/^PATH="\(.*\)"$/\1/p' /etc/environment):$PATH"
      '';
    };
    systemd.services.claude-vm-files = lib.mkIf (cfg.files != { }) {
      description = "Files of claude-vm.guest.files";
      wantedBy = [ "claude-vm-agent.service" ];
      before = [ "claude-vm-agent.service" ];
      path = [ pkgs.util-linux ];
      script = lib.concatStrings (lib.mapAttrsToList copy cfg.files);
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
      };
    };

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
        "size=50%"
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
