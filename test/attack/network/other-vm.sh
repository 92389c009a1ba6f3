# Root in the guest connects to the published port of a VM, by the host's addresses.
# Must: denied, though it answers on the host.
### root
cd /tmp && echo from the guest >page
systemd-run --quiet --working-directory=/tmp python3 -m http.server 8080
sleep 2
### host
for _ in $(seq 100); do
	echo 'GET /page HTTP/1.0
' | socat -t 5 - TCP:127.0.0.1:18099 >"$XDG_RUNTIME_DIR/out" 2>/dev/null || :
	grep -q 'from the guest' "$XDG_RUNTIME_DIR/out" && break
	sleep 0.2
done
grep -q 'from the guest' "$XDG_RUNTIME_DIR/out"
### root
for to in 10.0.2.2 host.internal host.test 100.100.0.1 192.168.77.1; do
	fetch "http://$to:18099/page" | hasnot 'from the guest'
done
