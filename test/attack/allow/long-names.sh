# Root in the guest asks for names that are malformed: 255 bytes, empty labels, NUL, not ASCII.
# Must: the resolver survives.
# VM: allow
# Slow.
### root
for name in "$(printf 'a%.0s' $(seq 60)).$(printf 'b%.0s' $(seq 60)).$(printf 'c%.0s' $(seq 60)).com" 'xn--' '_x.example.com' "$(printf '\303\244.com')"; do
	dns "$name" A >/dev/null 2>&1 || :
done
dns example.com A | has 198.1
