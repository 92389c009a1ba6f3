# QEMU puts a link in place of a lock file, so that the user's next shell creates or empties the file it
# points to. (A unit could be masked so.)
# Must: nothing is created and nothing changed.
# VM: taken
### host
echo mine >~/attack-file
rm -f ~/attack-new
### qemu
for i in $(seq 0 15); do
	rm -f ssh.$i.lock
	ln -sf /home/dev/attack-new ssh.$i.lock
done
### host
fails timeout 60 claude-vm-ctl shell . -- true
[ ! -e ~/attack-new ] && [ "$(cat ~/attack-file)" = mine ]
### qemu
rm -f ssh.*
