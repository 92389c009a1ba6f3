# The machine that both VM tests use.
{
  users.users.alice = {
    isNormalUser = true;
    uid = 1000;
  };
  virtualisation = {
    memorySize = 4096;
    cores = 4;
    diskSize = 4096;
  };
}
