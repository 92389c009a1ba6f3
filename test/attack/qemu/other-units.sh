# QEMU changes virtiofsd, the gateway and the console of its own VM through /proc.
# Must: each is in a user namespace of its own.
# VM: taken
### host
for part in virtiofsd gateway console scratch; do
	systemctl --user show --value -p MainPID "claude-vm-$part@$ID.service"
done
### qemu
while read -r pid; do
	[ "$pid" != 0 ]
	fails ls "/proc/$pid/root/"
	fails cat "/proc/$pid/environ"
done
