# The options of the NixOS guest.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.claude-vm.guest;

  # Variables for /etc/environment. pam_env(8) expands nothing in it, so values that refer
  # to other variables are left out.
  plain = lib.filterAttrs (_: value: !lib.hasInfix "$" value && !lib.hasInfix "\n" value) (
    lib.mapAttrs (_: toString) config.environment.variables
  );
  variables = pkgs.writeText "variables" (
    lib.concatStrings (lib.mapAttrsToList (name: value: "${name}=\"${value}\"\n") plain)
  );
  shellVariables = import ./dev-shell.nix { shell = cfg.devShell; };

  # Creates a writable copy and its parent directories. In the home directory, the user
  # owns all of them.
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

  # An option for files of Claude Code, by name, as in Home Manager's programs.claude-code.
  claudeFiles =
    dir: what:
    lib.mkOption {
      type = lib.types.attrsOf (lib.types.either lib.types.lines lib.types.path);
      default = { };
      description = ''
        Texts or paths, by name, for {file}`~/.claude/${dir}` of the user `claude`: ${what}.
      '';
    };
  fileOf =
    value:
    if lib.isPath value || lib.isDerivation value then { source = value; } else { text = value; };
  homeFiles =
    lib.optionalAttrs (cfg.claude.memory != null) {
      "/home/claude/.claude/CLAUDE.md" = fileOf cfg.claude.memory;
    }
    // lib.concatMapAttrs
      (
        dir: suffix:
        lib.mapAttrs' (name: value: {
          # A skill is a directory, in which a text is one file.
          name =
            "/home/claude/.claude/${dir}/${name}"
            + lib.optionalString (dir != "skills" || fileOf value ? text) suffix;
          value = fileOf value;
        }) cfg.claude.${dir}
      )
      {
        agents = ".md";
        commands = ".md";
        skills = "/SKILL.md";
      };
in
{
  options.claude-vm.guest = {
    package = lib.mkOption {
      type = lib.types.package;
      internal = true;
      default = pkgs.callPackage ./tree.nix {
        inherit (pkgs.callPackage ../programs.nix { version = "guest"; }) agent;
      };
      description = "The agent and the other files that all guests have in common.";
    };

    bundle = lib.mkOption {
      type = lib.types.package;
      readOnly = true;
      internal = true;
      description = "The guest bundle.";
    };

    claudePackage = lib.mkPackageOption pkgs "claude-code" {
      extraDescription = "It is unfree. The guest's nixpkgs permits this package only.";
    };

    claude = {
      memory = lib.mkOption {
        type = lib.types.nullOr (lib.types.either lib.types.lines lib.types.path);
        default = null;
        example = "Run the tests before each commit.";
        description = "Text or file for {file}`~/.claude/CLAUDE.md` of the user `claude`.";
      };
      agents = claudeFiles "agents" "subagents";
      commands = claudeFiles "commands" "slash commands";
      skills = claudeFiles "skills" "skills; a path is usually a directory with {file}`SKILL.md`";
    };

    extraPackages = lib.mkOption {
      type = lib.types.listOf lib.types.package;
      default = [ ];
      example = lib.literalExpression "[ pkgs.nodejs pkgs.go ]";
      description = "Packages to add to the {env}`PATH` of Claude and of all shells in the guest.";
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
                description = "Text of the file.";
              };
              source = lib.mkOption {
                type = lib.types.path;
                description = ''
                  Path of the file or directory to copy. It is readable in every VM and on the
                  host, so it must not contain secrets.
                '';
              };
              executable = lib.mkOption {
                type = lib.types.bool;
                default = false;
                description = "Whether to make the file, or all files of the directory, executable.";
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
        Files to create in the guest, by absolute path. Files below {file}`/home/claude`
        are owned by the user `claude`, all others by root. They are copied when the guest
        boots; changes that are made to them in a VM are lost when it stops.
      '';
    };

    devShell = lib.mkOption {
      type = lib.types.nullOr lib.types.package;
      default = null;
      example = lib.literalExpression "self.devShells.x86_64-linux.default";
      description = ''
        A development shell, as for {command}`nix develop`. Its environment variables,
        including {env}`PATH`, are set for Claude and all shells in the guest. Its
        `shellHook` is not run.
      '';
    };

    writableStore = lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = ''
        Whether to make the Nix store writable and {command}`nix` usable in the guest, with
        the nixpkgs that the guest is built from. Store paths that are built or downloaded in
        a VM are kept in its memory and are lost when it stops.
      '';
    };
  };

  config = {
    claude-vm.guest.files = homeFiles;
    environment = {
      systemPackages = cfg.extraPackages;
      etc.environment.source =
        if cfg.devShell == null then
          variables
        else
          pkgs.runCommandLocal "environment" { } "cat ${variables} ${shellVariables} >$out";
      # Login shells reset PATH, so the PATH of devShell is added again.
      extraInit = lib.mkIf (cfg.devShell != null) ''
        export PATH="$(sed -n 's/^PATH="\(.*\)"$/\1/p' /etc/environment):$PATH"
      '';
    };
    systemd.services.claude-vm-files = lib.mkIf (cfg.files != { }) {
      description = "Files of claude-vm.guest.files";
      wantedBy = [ "claude-vm-agent.service" ];
      before = [
        "claude-vm-agent.service"
        "shutdown.target"
      ];
      # The agent does not wait for sysinit.target.
      unitConfig.DefaultDependencies = false;
      after = [
        "local-fs.target"
        "systemd-tmpfiles-setup.service"
      ];
      conflicts = [ "shutdown.target" ];
      path = [ pkgs.util-linux ];
      script = lib.concatStrings (lib.mapAttrsToList copy cfg.files);
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
      };
    };

    microvm = {
      # Only nix uses the registration of the store paths.
      registerClosure = cfg.writableStore;
      writableStoreOverlay = lib.mkIf cfg.writableStore "/nix/.rw-store";
    };
    fileSystems."/nix/.rw-store" = lib.mkIf cfg.writableStore {
      device = "rw-store";
      fsType = "tmpfs";
      options = [
        "mode=0755"
        # The root file system is in memory as well, and may take half of it.
        "size=40%"
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
