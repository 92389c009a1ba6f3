# Root in the guest looks for the gateway's control interface, by which the user allows names.
# Must: the guest's service has no such request; nothing is allowed by it.
### root
for path in /allow /deny /publish /control /network/allow /../control.sock /host/../allow; do
	curl -sS -m 20 --path-as-is -d 'lan.test' "http://gateway.internal$path" >/dev/null 2>&1 || :
done
fetch http://lan.test/ | has 'claude-vm denied the connection to lan.test:80'
### host
claude-vm-ctl network | hasnot 'Allow: lan.test'
