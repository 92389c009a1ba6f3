# Root in the guest uses other resolvers, over UDP, TCP and TLS.
# Must: none answers.
# VM: allow
# Slow.
### root
[ -n "$(dns example.com A)" ]
for server in 8.8.8.8 100.100.0.2 10.0.2.2; do
	[ -z "$(dns example.com A $server)" ] || broken "$server"
	fails timeout 10 bash -c ": </dev/tcp/$server/53"
	fails timeout 10 bash -c ": </dev/tcp/$server/853"
done
