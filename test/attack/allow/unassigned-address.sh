# Root in the guest connects to addresses of the gateway's range that no name has.
# Must: refused.
# VM: allow
# Slow.
### root
for to in 198.18.200.1 198.19.255.254 198.18.0.0; do
	fetch "http://$to/" | hasnot ' at '
done
