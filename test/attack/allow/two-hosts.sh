# Root in the guest sends two Host headers, in both orders.
# Must: rejected.
# VM: allow
# Slow.
### root
for hosts in 'example.com\r\nHost: other.test' 'other.test\r\nHost: example.com' 'example.com\r\n Host: other.test'; do
	printf "GET / HTTP/1.1\r\nHost: $hosts\r\nConnection: close\r\n\r\n" | http | hasnot 'other.test at'
done
