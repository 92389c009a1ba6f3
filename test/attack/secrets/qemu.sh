# A program of another VM or a user who sees the list of processes reads the API key there.
# Must: it is in no command line and not in QEMU's environment.
### host
pid=$(systemctl --user show --value -p MainPID "claude-vm@$ID.service")
fails grep -q -a -F "$KEY" "/proc/$pid/environ"
for file in /proc/[0-9]*/cmdline; do
	case $(tr '\0' ' ' <"$file" 2>/dev/null) in
	*KEY=*) ;; # this script
	*"$KEY"*) broken "$file" ;;
	esac
done
systemctl --user show "claude-vm*@$ID.service" | hasnot "$KEY"
