# A machine with the NixOS module. The user alice starts a VM and can read its journal.
self: {
  name = "claude-vm-nixos";

  nodes.machine = {
    imports = [
      self.nixosModules.default
      ./machine.nix
    ];
    programs.claude-vm = {
      enable = true;
      users = [ "alice" ];
      linger = [ "alice" ];
      settings = import ./settings.nix;
      vms.web.VM.WorkDirectory = "%h/web";
    };
  };

  testScript = builtins.readFile ./vm.py;
}
