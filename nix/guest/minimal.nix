# What NixOS does without where one program runs.
{ lib, modulesPath, ... }:
{
  imports = [ "${modulesPath}/profiles/minimal.nix" ];

  boot.bcache.enable = false;
  console.enable = false;
  fonts.fontconfig.enable = false;
  i18n = {
    defaultLocale = "C.UTF-8";
    supportedLocales = [ "C.UTF-8/UTF-8" ];
  };
  networking = {
    # guest/overlay sets the interface up.
    useDHCP = false;
    useNetworkd = false;
    resolvconf.enable = false;
    # What is published is published on purpose, and nothing else reaches the guest.
    firewall.enable = false;
  };
  programs.nano.enable = false;
  security.sudo.enable = false;
  services = {
    lvm.enable = false;
    nscd.enable = false;
    # The agent keeps the clock.
    timesyncd.enable = false;
  };
  system.nssModules = lib.mkForce [ ];
  systemd = {
    coredump.enable = false;
    enableEmergencyMode = false;
    oomd.enable = false;
  };
}
