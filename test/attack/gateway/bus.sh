# The gateway starts a unit outside of the sandbox over D-Bus.
# Must: no socket of the user manager is there.
# VM: taken
### gateway
for socket in bus systemd/private systemd/io.systemd.Manager openssh_agent; do
	fails reach "/run/user/1000/$socket"
done
