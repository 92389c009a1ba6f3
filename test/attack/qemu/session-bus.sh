# QEMU starts a unit outside of the sandbox over the user's D-Bus or the user manager's socket.
# Must: neither socket is there.
# VM: taken
### qemu
for socket in bus systemd/private systemd/io.systemd.Manager gnupg/S.gpg-agent openssh_agent; do
	fails reach "/run/user/1000/$socket"
done
fails env XDG_RUNTIME_DIR=/run/user/1000 systemd-run --user true
