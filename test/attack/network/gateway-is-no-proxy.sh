# Root in the guest uses the gateway's own service as a proxy: CONNECT, absolute URIs, other hosts.
# Must: it is none.
# Slow.
### root
curl -sS -m 20 -x http://gateway.internal:80 http://lan.test/ 2>&1 | hasnot 'lan.test at'
curl -sS -m 20 -p -x http://gateway.internal:80 http://192.168.77.2/ 2>&1 | hasnot '192.168.77.2 at'
for host in lan.test 192.168.77.2 127.0.0.1:$API example.com; do
	curl -sS -m 20 "http://gateway.internal/host/$host/" 2>&1 | hasnot ' at '
	curl -sS -m 20 -H "Host: $host" http://10.0.2.2/ 2>&1 | hasnot ' at '
done
