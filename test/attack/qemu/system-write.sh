# QEMU changes programs and settings of the system.
# Must: all is read-only.
# VM: taken
### qemu
for dir in / /usr/local/bin /etc /usr/lib/systemd/user /run /var/lib /home /sys/kernel; do
	fails touch "$dir/attack"
done
touch here
grep ' / ' /proc/mounts | has ' ro'
