# QEMU answers the user's shell with frames that are too large, or that are none.
# Must: an error after a minute, without much memory.
# VM: taken
# Slow.
### qemu
for i in $(seq 0 15); do serve ssh.$i.sock garbage; done
### host
status=0
(ulimit -v 4000000 && timeout --kill-after=20 90 claude-vm-ctl shell . -- true) || status=$?
[ $status = 1 ] || [ $status = 123 ] || broken "status $status"
### qemu
rm -f ssh.*
