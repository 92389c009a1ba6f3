# Root in the guest scans the host's network unnoticed.
# Must: each denial is a line of the journal with the address, and "network" shows it.
# Slow.
### root
fetch http://192.168.77.2:8443/ | hasnot ' at '
### host
journalctl --user --no-pager -o json -n 2000 -u "claude-vm-gateway@$ID.service" | grep '"CLAUDE_VM_PORT":"8443"' | grep '"CLAUDE_VM_ADDRESS":"192.168.77.2"' |
	has '"CLAUDE_VM_DECISION":"denied"'
claude-vm-ctl network | has 192.168.77.2
