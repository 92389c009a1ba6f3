# Settings for a nested VM, which may run without KVM.
{
  VM = {
    Memory = "1536M";
    CPUs = 2;
  };
  Service.TimeoutStartSec = "20min";
}
