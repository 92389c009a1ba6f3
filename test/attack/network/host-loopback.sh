# Root in the guest opens a port of the host's loopback by the addresses of the gateway.
# Must: denied, although the port answers on the host and the gateway answers the guest.
### host
socat -u OPEN:/dev/null "TCP:127.0.0.1:$API"
### root
curl -sS -m 20 http://10.0.2.2/ | has 'This VM may connect'
for to in 10.0.2.2 10.0.2.3 host.internal gateway.internal loopback.test 127.0.0.1.nip.test; do
	fetch "http://$to:$API/v1/models" | hasnot '"type"'
done
