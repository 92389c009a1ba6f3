# What NixOS does without where one program runs. All of it can be set again.
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
    # guest/overlay sets the interface up.
    useDHCP = lib.mkDefault false;
    useNetworkd = lib.mkOverride 900 false;
    resolvconf.enable = lib.mkDefault false;
    # What is published is published on purpose, and nothing else reaches the guest.
    firewall.enable = lib.mkDefault false;
  };
  programs.nano.enable = lib.mkDefault false;
  security.sudo.enable = lib.mkDefault false;
  services = {
    lvm.enable = lib.mkDefault false;
    nscd.enable = lib.mkDefault false;
    # The agent keeps the clock.
    timesyncd.enable = lib.mkDefault false;
  };
  system.nssModules = lib.mkIf (!config.services.nscd.enable) (lib.mkForce [ ]);
  systemd = {
    coredump.enable = lib.mkDefault false;
    enableEmergencyMode = lib.mkDefault false;
    oomd.enable = lib.mkDefault false;
    # The disk cannot be written: nothing needs to be unmounted from a copy.
    shutdownRamfs.enable = lib.mkDefault false;
  };
}
