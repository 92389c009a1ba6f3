# What both VM tests run on.
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
