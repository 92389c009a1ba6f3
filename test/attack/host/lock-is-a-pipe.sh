# QEMU puts a pipe in place of a lock file, on which the user's next shell would hang.
# Must: the client reports an error at once.
# VM: taken
### qemu
for i in $(seq 0 15); do
	rm -f ssh.$i.lock && mkfifo ssh.$i.lock
done
### host
status=0
timeout 60 claude-vm-ctl shell . -- true || status=$?
[ $status != 0 ] && [ $status != 124 ]
### qemu
rm -f ssh.*
