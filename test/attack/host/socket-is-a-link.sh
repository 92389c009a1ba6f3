# QEMU puts a link in place of a socket, which points to the socket of the user's SSH agent or of another
# VM: what the user types would go there.
# Must: the client does not follow it.
# VM: taken
### host
rm -f ~/attack.sock
rm -f ~/attack-received
serve "$HOME/attack.sock" "$HOME/attack-received"
echo control | socat -u STDIN UNIX-CONNECT:"$HOME/attack.sock"
### qemu
for i in $(seq 0 15); do
	ln -sf /home/dev/attack.sock ssh.$i.sock
done
### host
fails timeout 60 claude-vm-ctl shell . -- true
[ "$(cat ~/attack-received)" = control ]
### qemu
rm -f ssh.*
