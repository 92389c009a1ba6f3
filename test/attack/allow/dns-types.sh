# Root in the guest asks for TXT, HTTPS (with keys for encrypted names), MX, ANY, NULL and SRV records.
# Must: no answer has data.
# VM: allow
# Slow.
### root
for type in TXT HTTPS MX ANY NULL SRV AAAA; do
	[ -z "$(dns example.com $type)" ] || broken "$type"
	[ -z "$(dns other.test $type)" ] || broken "$type"
done
