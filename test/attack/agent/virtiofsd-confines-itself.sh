# virtiofsd, taken over, reads other files than the shared ones.
# Must: its root directory is the share, it has no capability and is in its own namespaces.
### host
pid=$(systemctl --user show --value -p MainPID "claude-vm-virtiofsd@$ID.service")
[ "$(ls "/proc/$pid/root/" | grep -v -x -e work -e claude)" = '' ]
[ "$(readlink "/proc/$pid/ns/net")" != "$(readlink /proc/self/ns/net)" ]
grep -q '^Seccomp:.2' "/proc/$pid/status"
