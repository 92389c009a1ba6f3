# QEMU puts off its stop by EXTEND_TIMEOUT_USEC, and ignores SIGTERM.
# Must: it cannot reach the user manager, and is killed after TimeoutStopSec=, here 3 seconds.
# VM: taken
### qemu
reach vfs.sock
(
	trap '' TERM HUP
	for _ in $(seq 300); do
		datagram /run/user/1000/systemd/notify EXTEND_TIMEOUT_USEC=60000000 || :
		sleep 0.2
	done
) >/dev/null 2>&1 &
### host
start=$(date +%s)
stopped
[ $(($(date +%s) - start)) -lt 20 ]
