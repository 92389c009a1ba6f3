# Root in the guest opens hundreds of connections to the gateway's own service, and sends a byte now and then.
# Must: the service still answers others.
# Slow.
### root
python3 -c '
import socket, time
open = []
for _ in range(400):
    try:
        s = socket.create_connection(("10.0.2.2", 80), 5); s.sendall(b"GET / HTT"); open.append(s)
    except OSError: pass
time.sleep(20)' &
sleep 15
curl -sS -m 60 http://gateway.internal/ | has 'This VM may connect'
wait
