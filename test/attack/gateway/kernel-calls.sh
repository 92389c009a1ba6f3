# The gateway calls the parts of the kernel where bugs are found: bpf, perf, modules, kexec, mounts.
# Must: the seccomp filter kills the process before the kernel looks at the call.
# VM: taken
### gateway
# bpf perf_event_open init_module kexec_load mount pivot_root swapon reboot settimeofday open_by_handle_at
killed 321 298 175 246 165 155 167 169 164 304
