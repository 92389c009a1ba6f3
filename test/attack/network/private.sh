# Root in the guest connects to private and shared addresses behind the host, such as those of a company.
# Must: denied, though the host reaches them.
# Slow.
### host
socat -u OPEN:/dev/null TCP:10.50.0.5:80
### root
for to in 10.50.0.5 intranet.test 100.100.0.2; do
	fetch "http://$to/" | has "claude-vm denied the connection to $to:80"
done
