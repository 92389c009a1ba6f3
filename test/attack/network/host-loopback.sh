# Root in the guest opens a port of the host's loopback by the addresses of the gateway.
# Must: refused, although the port answers on the host and the addresses answer the guest.
### host
curl -sS "http://127.0.0.1:$API/" >/dev/null
### root
curl -sS -m 9 http://10.0.2.2/ | has 'This VM may connect'
for to in 10.0.2.2 10.0.2.3 host.internal 198.18.0.1 127.0.0.1; do
	curl -sS -m 9 "http://$to:$API/" 2>&1 | hasnot '"error"' 
done
