# A machine on which Home Manager installs claude-vm for the user alice only.
{ self, home-manager }:
{
  name = "claude-vm-home-manager";

  nodes.machine =
    { config, ... }:
    {
      imports = [
        home-manager.nixosModules.home-manager
        ./machine.nix
      ];
      users.users.alice.linger = true;
      home-manager.users.alice = {
        imports = [ self.homeModules.default ];
        home.stateVersion = config.system.nixos.release;
        programs.claude-vm = {
          enable = true;
          settings = import ./settings.nix;
          vms.web.VM.WorkDirectory = "%h/web";
        };
      };
    };

  testScript = builtins.readFile ./vm.py;
}
