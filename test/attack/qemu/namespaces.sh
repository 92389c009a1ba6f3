# QEMU makes a user namespace, in which it would be root and reach more of the kernel.
# Must: no namespace can be made or entered.
# VM: taken
### qemu
for kind in --user --mount --net --pid --ipc --uts --cgroup; do
	fails unshare $kind true
done
fails unshare --map-root-user true
fails nsenter --target $$ --user true
