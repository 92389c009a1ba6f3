# Disables parts of NixOS that a guest for one program does not need. Modules can override
# all of these settings.
{
  config,
  lib,
  modulesPath,
  ...
}:
{
  imports = [ "${modulesPath}/profiles/minimal.nix" ];

  boot.bcache.enable = lib.mkDefault false;
  console.enable = lib.mkDefault false;
  fonts.fontconfig.enable = lib.mkDefault false;
  i18n.defaultLocale = lib.mkDefault "C.UTF-8";
  networking = {
    # A service in guest/overlay configures the network interface.
    useDHCP = lib.mkDefault false;
    useNetworkd = lib.mkOverride 900 false;
    resolvconf.enable = lib.mkDefault false;
    # Only ports that the user has published can be reached from outside the guest.
    firewall.enable = lib.mkDefault false;
  };
  programs = {
    nano.enable = lib.mkDefault false;
    # Programs that npm or pip install expect the dynamic linker of other distributions.
    nix-ld.enable = lib.mkDefault true;
  };
  # A guest cannot be rebuilt from within.
  system.disableInstallerTools = lib.mkDefault true;
  # Brings libraries of X11.
  security.pam.services.su.forwardXAuth = lib.mkForce false;
  services = {
    # The disk is read-only.
    fstrim.enable = lib.mkDefault false;
    lvm.enable = lib.mkDefault false;
    nscd.enable = lib.mkDefault false;
    # The agent synchronizes the clock.
    timesyncd.enable = lib.mkDefault false;
  };
  system.nssModules = lib.mkIf (!config.services.nscd.enable) (lib.mkForce [ ]);
  boot.kernel.sysctl = {
    # From the file 50-default.conf of systemd, which NixOS only installs together with
    # coredump. guest/overlay disables core dumps.
    "fs.protected_fifos" = lib.mkDefault 1;
    "fs.protected_hardlinks" = lib.mkDefault 1;
    "fs.protected_regular" = lib.mkDefault 2;
    "fs.protected_symlinks" = lib.mkDefault 1;
  };
  systemd = {
    # Writes to the emulated hardware clock, which nobody reads afterwards. When emulated, it
    # takes 2 s.
    services.save-hwclock.enable = lib.mkDefault false;
    coredump.enable = lib.mkDefault false;
    enableEmergencyMode = lib.mkDefault false;
    oomd.enable = lib.mkDefault false;
    # The disk is read-only, so shutdown need not switch to a copy in RAM to unmount it.
    shutdownRamfs.enable = lib.mkDefault false;
  };
}
