# For a VM in a VM, where there may be no KVM.
{
  VM = {
    Memory = "1536M";
    CPUs = 2;
  };
  Service.TimeoutStartSec = "20min";
}
