# Values of all types (strings, numbers, booleans, lists) and names that need escaping.
{
  settings = {
    VM.Memory = "3G";
    Share.Hide = [
      ".env"
      "secrets"
    ];
  };
  vms = {
    web = {
      VM = {
        WorkDirectory = "%h/src/my-web";
        CPUs = 2;
      };
      Network.PublishPort = [
        "8080:8080"
        "127.0.0.1:9000:90"
      ];
      Claude.SkipPermissions = true;
      Service.MemoryMax = "6G";
      Install.WantedBy = "default.target";
    };
    "odd one".VM.WorkDirectory = "/srv/a b/50%% ü";
  };
}
