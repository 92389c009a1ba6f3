# QEMU reads and changes the memory of another process of the user.
# Must: the kernel refuses it. (That it can send signals is a known limit.)
# VM: taken
### host
systemctl --user show --value -p MainPID init.scope
### qemu
cat /proc/self/maps >/dev/null
for pid in /proc/[0-9]*; do
	[ "$(readlink "$pid/ns/user" 2>/dev/null)" = "$(readlink /proc/self/ns/user)" ] && continue
	fails cat "$pid/environ"
	fails head -c 1 "$pid/mem"
	fails ls "$pid/root/"
	fails perl -e 'exit(syscall(101, 16, $ARGV[0], 0, 0) < 0)' "${pid#/proc/}"
done 2>/dev/null
