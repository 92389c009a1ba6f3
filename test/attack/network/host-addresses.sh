# Root in the guest connects to the host by its own addresses on other networks, and by names for them.
# Must: denied.
# Slow.
### root
fetch http://example.com/ | has 'example.com at'
for to in 100.100.0.1 192.168.77.1 host.test; do
	fetch "http://$to:$API/" | hasnot '"type"'
	fetch "http://$to/" | has "claude-vm denied the connection to $to:80"
done
