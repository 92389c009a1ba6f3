# Root in the guest searches its whole memory for the API key.
# Must: it is not in QEMU's memory either.
### root
python3 -c 'import os; print(os.environ.get("ANTHROPIC_API_KEY", ""))'
### host
pid=$(systemctl --user show --value -p MainPID "claude-vm@$ID.service")
for fd in /proc/"$pid"/fd/*; do
	case $(readlink "$fd") in
	/memfd:memory-backend*)
		grep -q -a -F sk-ant-claude-vm-ANTHROPIC "$fd"
		fails grep -q -a -F "$KEY" "$fd"
		seen=yes
		;;
	esac
done
[ "$seen" = yes ]
