# QEMU changes settings of the kernel and of the user's cgroups.
# Must: /proc/sys, /sys and /sys/fs/cgroup are read-only.
# VM: taken
### qemu
own=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)
for file in /proc/sys/kernel/core_pattern /proc/sys/vm/overcommit_memory /sys/kernel/mm/transparent_hugepage/enabled "$own/cgroup.procs"; do
	fails sh -c 'echo 0 >"$0"' "$file"
done
mount | grep ' /sys/fs/cgroup ' | has 'ro,'
