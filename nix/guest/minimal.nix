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
  programs.nano.enable = lib.mkDefault false;
  security.sudo.enable = lib.mkDefault false;
  services = {
    lvm.enable = lib.mkDefault false;
    nscd.enable = lib.mkDefault false;
    # The agent synchronizes the clock.
    timesyncd.enable = lib.mkDefault false;
  };
  system.nssModules = lib.mkIf (!config.services.nscd.enable) (lib.mkForce [ ]);
  systemd = {
    coredump.enable = lib.mkDefault false;
    enableEmergencyMode = lib.mkDefault false;
    oomd.enable = lib.mkDefault false;
    # The disk is read-only, so shutdown need not switch to a copy in RAM to unmount it.
    shutdownRamfs.enable = lib.mkDefault false;
  };
}
