# Root in the guest connects to the address of an allowed name, or to any public address.
# Must: denied: only names are allowed.
# VM: allow
# Slow.
### root
for to in 93.184.216.34 93.184.216.35 '[2606:2800::34]'; do
	fetch "http://$to/" | hasnot ' at '
	fails curl -sS -k -m 20 "https://$to/"
done
