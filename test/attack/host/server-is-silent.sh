# QEMU accepts the connection of the user's shell and never answers, or sends garbage for ever.
# Must: the client ends with SIGINT, or by itself.
# VM: taken
### qemu
for i in $(seq 0 15); do serve ssh.$i.sock silent; done
### host
status=0
timeout --signal=INT --kill-after=20 5 claude-vm-ctl shell . -- true || status=$?
[ "$status" = 124 ] # timeout sent SIGINT, which was enough
### qemu
rm -f ssh.*
