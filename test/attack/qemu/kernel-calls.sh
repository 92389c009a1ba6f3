# QEMU calls the parts of the kernel where bugs are found: bpf, perf, modules, kexec, mounts.
# Must: the seccomp filter kills the process before the kernel looks at the call.
# VM: taken
### qemu
perl -e 'syscall(39); exit 0' # getpid
# bpf perf_event_open init_module kexec_load mount pivot_root swapon reboot settimeofday open_by_handle_at
for number in 321 298 175 246 165 155 167 169 164 304; do
	status=0
	perl -e 'syscall($ARGV[0]+0, 0, 0, 0, 0, 0)' $number || status=$?
	[ $status = 159 ] || broken "call $number: status $status" # SIGSYS
done
