# The Home Manager module: programs.claude-vm for one user.
self:
{
  config,
  lib,
  options,
  pkgs,
  ...
}:
let
  cfg = config.programs.claude-vm;
  inherit (config) home xdg;

  units = pkgs.callPackage ./units.nix {
    inherit (cfg.package) programs;
    inherit (cfg) files;
    place = "${xdg.configHome}/claude-vm";
    environment = {
      HOME = home.homeDirectory;
      USER = home.username;
      XDG_CONFIG_HOME = xdg.configHome;
      XDG_STATE_HOME = xdg.stateHome;
      XDG_CACHE_HOME = xdg.cacheHome;
    }
    # Without XDG_RUNTIME_DIR, the generator cannot expand %U and %t and rejects them.
    // lib.optionalAttrs (home.uid or null != null) {
      XDG_RUNTIME_DIR = "/run/user/${toString home.uid}";
    };
  };
in
{
  imports = [ (import ./options.nix self) ];

  options.programs.claude-vm = {
    enableBashIntegration = lib.hm.shell.mkBashIntegrationOption { inherit config; };
    enableZshIntegration = lib.hm.shell.mkZshIntegrationOption { inherit config; };
    enableFishIntegration = lib.hm.shell.mkFishIntegrationOption { inherit config; };
  };

  config = lib.mkIf cfg.enable {
    assertions = [
      (lib.hm.assertions.assertPlatform "programs.claude-vm" pkgs lib.platforms.linux)
    ];

    home.packages = [ cfg.finalPackage ];
    # The option exists since Home Manager 26.05. Before, link the units where it would.
    systemd.user = lib.optionalAttrs (options.systemd.user ? packages) {
      packages = [ cfg.finalPackage ];
    };
    xdg.dataFile = lib.optionalAttrs (!(options.systemd.user ? packages)) {
      claude-vm-units = {
        target = "systemd/user";
        source = "${cfg.finalPackage}/lib/systemd/user";
        recursive = true;
      };
    };

    xdg.configFile = lib.mkIf cfg.hasFiles {
      # Link each file separately, because the directory may also contain files that
      # are not managed by Home Manager.
      claude-vm = {
        source = cfg.files;
        recursive = true;
      };
      # Units here take precedence over the output of a generator that is installed as
      # well and of "claude-vm-ctl generate". All three write the same files.
      claude-vm-units = {
        target = "systemd/user";
        source = units;
        recursive = true;
      };
    };

    programs = {
      bash.initExtra = lib.mkIf cfg.enableBashIntegration ''
        source ${cfg.finalPackage}/share/bash-completion/completions/claude-vm-ctl
      '';
      zsh.initContent = lib.mkIf cfg.enableZshIntegration ''
        fpath+=(${cfg.finalPackage}/share/zsh/site-functions)
        autoload -Uz _claude-vm-ctl
        (( ! $+functions[compdef] )) || compdef _claude-vm-ctl claude-vm-ctl
      '';
      fish.interactiveShellInit = lib.mkIf cfg.enableFishIntegration ''
        source ${cfg.finalPackage}/share/fish/vendor_completions.d/claude-vm-ctl.fish
      '';
    };
  };
}
